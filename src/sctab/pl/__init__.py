"""Plots of results, one function per table."""

from sctab.pl._benchmark import (
    benchmark_confusion,
    benchmark_curves,
    benchmark_groups,
    benchmark_models,
    benchmark_scaling,
    benchmark_sizes,
    benchmark_types,
)
from sctab.pl._explanation import explain
from sctab.pl._training import training
from sctab.pl._tuning import tuning_history, tuning_importance

__all__ = [
    "benchmark_confusion",
    "benchmark_curves",
    "benchmark_groups",
    "benchmark_models",
    "benchmark_scaling",
    "benchmark_sizes",
    "benchmark_types",
    "explain",
    "training",
    "tuning_history",
    "tuning_importance",
]
