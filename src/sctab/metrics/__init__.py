"""How well labels agree, and how well probabilities tell how well."""

from sctab.metrics._corrected import correct_codes, correct_predictions, correct_probabilities
from sctab.metrics._intervals import bootstrap_interval
from sctab.metrics._overall import SharedLevel, overall_scores
from sctab.metrics._probabilities import auroc, brier_score, calibration_error, cross_entropy
from sctab.metrics._scores import (
    accuracy,
    confusion,
    macro_f1,
    macro_f1_of_codes,
    scores_per_group,
    scores_per_type,
    weighted_f1,
)

__all__ = [
    "SharedLevel",
    "accuracy",
    "auroc",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "confusion",
    "correct_codes",
    "correct_predictions",
    "correct_probabilities",
    "cross_entropy",
    "macro_f1",
    "macro_f1_of_codes",
    "overall_scores",
    "scores_per_group",
    "scores_per_type",
    "weighted_f1",
]
