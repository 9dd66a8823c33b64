"""Arrays of the same cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sctab.metrics._lengths import require_same_length


def test_arrays_of_any_type_may_be_of_the_same_cells():
    require_same_length(a=[1, 2], b=np.zeros((2, 3)), c=pd.Series([1, 2]), d=sparse.csr_matrix((2, 5)))


def test_different_numbers_are_refused_by_name():
    with pytest.raises(ValueError, match=r"`truth`, `predicted` and `weights` have inconsistent numbers of samples: 2, 3, 2\."):
        require_same_length(truth=[1, 2], predicted=[1, 2, 3], weights=[0.5, 0.5])
