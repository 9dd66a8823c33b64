from ._auto import AutoClassifier as AutoClassifier
from ._base import CellTypeClassifier as CellTypeClassifier, new_model as new_model
from ._calibrating import evaluate_unseen as evaluate_unseen
from ._class_names import MODEL_NAMES as MODEL_NAMES, meant_model as meant_model
from ._classes import model_classes as model_classes
from ._cluster_arguments import CLUSTERING_SETTINGS as CLUSTERING_SETTINGS
from ._ensemble import DeepEnsemble as DeepEnsemble
from ._linear import LinearClassifier as LinearClassifier
from ._loading import load_model as load_model
from ._mlp import MLPClassifier as MLPClassifier
from ._names import model_by_name as model_by_name
from ._out_of_fold import OutOfFold as OutOfFold, out_of_fold as out_of_fold
from ._runs import (
    check_training as check_training,
    keep_run_hash as keep_run_hash,
    run_hash as run_hash,
    stored_run_hash as stored_run_hash,
)
from ._scdeepcluster import SCDeepCluster as SCDeepCluster
from ._sctab import SCTAB as SCTAB
from ._search import Choice as Choice, Range as Range, SearchSpace as SearchSpace
from ._xgboost import BoostingSettings as BoostingSettings, XGBoostClassifier as XGBoostClassifier

__all__ = [
    "AutoClassifier",
    "CellTypeClassifier",
    "Choice",
    "DeepEnsemble",
    "LinearClassifier",
    "MLPClassifier",
    "Range",
    "SCDeepCluster",
    "SCTAB",
    "SearchSpace",
    "XGBoostClassifier",
    "load_model",
    "model_by_name",
]
