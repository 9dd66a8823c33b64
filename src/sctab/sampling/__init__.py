"""Choosing cells: which to learn from, which to validate on, and which to keep of many."""

from sctab.sampling._splits import Split, assign_splits, balanced_class_weights, split_cells
from sctab.sampling._splits import SplitBy as SplitBy
from sctab.sampling._splits import SplitRule as SplitRule
from sctab.sampling._subsets import Allocation as Allocation
from sctab.sampling._subsets import geometric_sketch, herding, k_centre, nested_share, subsample

__all__ = [
    "Split",
    "assign_splits",
    "balanced_class_weights",
    "geometric_sketch",
    "herding",
    "k_centre",
    "nested_share",
    "split_cells",
    "subsample",
]
