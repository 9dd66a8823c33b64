"""Settings of a model class that do best on donors that it has not seen."""

from sctab.tuning._result import TuningResult
from sctab.tuning._settings import Settings
from sctab.tuning._tune import tune, tune_from_corpus

__all__ = ["Settings", "TuningResult", "tune", "tune_from_corpus"]
