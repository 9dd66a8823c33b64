"""Cell type classifiers in the manner of scvi-tools."""

from sctab.model._auto import MODEL_NAMES, AutoClassifier, model_by_name
from sctab.model._base import CellTypeClassifier
from sctab.model._classes import model_classes
from sctab.model._ensemble import DeepEnsemble
from sctab.model._evaluation import Evaluation
from sctab.model._linear import LinearClassifier
from sctab.model._loading import load_model
from sctab.model._mlp import MLPClassifier
from sctab.model._sctab import SCTAB
from sctab.model._search import Choice, Range, SearchSpace
from sctab.model._spec import ModelSpec
from sctab.model._xgboost import XGBoostClassifier

__all__ = [
    "MODEL_NAMES",
    "SCTAB",
    "AutoClassifier",
    "CellTypeClassifier",
    "Choice",
    "DeepEnsemble",
    "Evaluation",
    "LinearClassifier",
    "MLPClassifier",
    "ModelSpec",
    "Range",
    "SearchSpace",
    "XGBoostClassifier",
    "load_model",
    "model_by_name",
    "model_classes",
]
