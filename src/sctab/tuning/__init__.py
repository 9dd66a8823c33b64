"""Settings of a model class that do best on donors that it has not seen."""

from sctab.tuning._result import TuningResult
from sctab.tuning._settings import Settings
from sctab.tuning._tune import tune

__all__ = ["Settings", "TuningResult", "tune"]
