from ._clusters import clusters_of_types as clusters_of_types
from ._splits import (
    Split as Split,
    SplitBy as SplitBy,
    SplitRule as SplitRule,
    assign_splits as assign_splits,
    balanced_class_weights as balanced_class_weights,
    split_cells as split_cells,
)
from ._subsets import (
    Allocation as Allocation,
    geometric_sketch as geometric_sketch,
    herding as herding,
    k_centre as k_centre,
    nested_subset as nested_subset,
    subsample as subsample,
)

__all__ = ["geometric_sketch", "herding", "k_centre"]
