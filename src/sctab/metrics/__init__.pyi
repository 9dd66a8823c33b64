from ._clusters import cluster_accuracy as cluster_accuracy, cluster_scores as cluster_scores
from ._corrected import (
    correct_codes as correct_codes,
    correct_predictions as correct_predictions,
    correct_probabilities as correct_probabilities,
)
from ._intervals import bootstrap_interval as bootstrap_interval
from ._label_noise import LabelNoise as LabelNoise
from ._overall import SharedLevel as SharedLevel, overall_scores as overall_scores
from ._probabilities import (
    abstention as abstention,
    auroc as auroc,
    brier_score as brier_score,
    calibration_error as calibration_error,
    calibration_error_of as calibration_error_of,
    cross_entropy as cross_entropy,
    reliability as reliability,
)
from ._scores import (
    accuracy as accuracy,
    confusion as confusion,
    macro_f1 as macro_f1,
    macro_f1_of_codes as macro_f1_of_codes,
    scores_per_group as scores_per_group,
    scores_per_type as scores_per_type,
    weighted_f1 as weighted_f1,
)

__all__ = [
    "accuracy",
    "auroc",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "cluster_accuracy",
    "confusion",
    "correct_predictions",
    "cross_entropy",
    "macro_f1",
    "scores_per_group",
    "scores_per_type",
    "weighted_f1",
]
