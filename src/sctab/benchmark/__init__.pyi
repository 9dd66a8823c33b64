from . import _runs as _runs
from ._config import (
    SUBSETS as SUBSETS,
    Config as Config,
    ModelEntry as ModelEntry,
    PeerEntry as PeerEntry,
    Subset as Subset,
    Task as Task,
    read_config as read_config,
)
from ._files import FIGURES_FOLDER as FIGURES_FOLDER
from ._peers import PeerUnavailableError as PeerUnavailableError
from ._report import (
    METRICS as METRICS,
    SCALING_METRICS as SCALING_METRICS,
    best_label as best_label,
    comparison as comparison,
    paired_differences as paired_differences,
    write_report as write_report,
)
from ._results import Results as Results, read_results as read_results
from ._schedule import Progress as Progress, run_benchmark as run_benchmark

__all__ = [
    "comparison",
    "paired_differences",
    "read_config",
    "read_results",
    "run_benchmark",
]
