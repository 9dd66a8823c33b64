"""Names of the files of a benchmark and of each of its runs."""

from typing import Final

RUNS_FOLDER: Final = "runs"
FAILURES_FOLDER: Final = "failures"
FIGURES_FOLDER: Final = "figures"
MANIFEST_FILE: Final = "benchmark.json"
RESULTS_FILE: Final = "results.parquet"
CURVES_FILE: Final = "curves.parquet"
CONFUSION_FILE: Final = "confusion.parquet"
REPORT_FILE: Final = "report.md"

# In the folder of a run.
REQUEST_FILE: Final = "request.json"
SUMMARY_FILE: Final = "summary.json"
SCORES_FILE: Final = "scores.parquet"
PREDICTIONS_FILE: Final = "predictions.parquet"
HISTORY_FILE: Final = "history.parquet"
LOG_FILE: Final = "log.txt"
