from . import _benchmark as _benchmark
from ._benchmark import (
    benchmark_confusion as benchmark_confusion,
    benchmark_curves as benchmark_curves,
    benchmark_groups as benchmark_groups,
    benchmark_models as benchmark_models,
    benchmark_scaling as benchmark_scaling,
    benchmark_sizes as benchmark_sizes,
    benchmark_types as benchmark_types,
)
from ._cells import annotation as annotation
from ._colours import colours_of as colours_of
from ._comparison import comparison as comparison
from ._composition import composition as composition
from ._evaluation import confusion as confusion, type_scores as type_scores
from ._evidence import evidence as evidence
from ._explanation import explain as explain
from ._review import review as review
from ._training import training as training
from ._tree import ontology as ontology
from ._trust import abstention as abstention, promise as promise, reliability as reliability, unseen as unseen
from ._tuning import tuning_history as tuning_history, tuning_importance as tuning_importance

__all__ = [
    "abstention",
    "annotation",
    "benchmark_confusion",
    "benchmark_curves",
    "benchmark_groups",
    "benchmark_models",
    "benchmark_scaling",
    "benchmark_sizes",
    "benchmark_types",
    "comparison",
    "composition",
    "confusion",
    "evidence",
    "explain",
    "ontology",
    "promise",
    "reliability",
    "review",
    "training",
    "tuning_history",
    "tuning_importance",
    "type_scores",
    "unseen",
]
