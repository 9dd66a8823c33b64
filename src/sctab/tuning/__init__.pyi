from ._result import TuningResult as TuningResult
from ._settings import Settings as Settings
from ._tune import tune as tune, tune_from_corpus as tune_from_corpus

__all__ = ["Settings", "tune", "tune_from_corpus"]
