"""Compare models and other programs on declared tasks, so that a claim comes from numbers."""

from sctab.benchmark._config import Config, ModelEntry, PeerEntry, Subset, Task, read_config
from sctab.benchmark._peers import PeerUnavailableError
from sctab.benchmark._report import comparison, paired_differences, write_report
from sctab.benchmark._results import Results, read_results
from sctab.benchmark._schedule import Progress, run_benchmark

__all__ = [
    "Config",
    "ModelEntry",
    "PeerEntry",
    "PeerUnavailableError",
    "Progress",
    "Results",
    "Subset",
    "Task",
    "comparison",
    "paired_differences",
    "read_config",
    "read_results",
    "run_benchmark",
    "write_report",
]
