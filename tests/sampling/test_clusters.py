"""Parts of types whose cells differ from those of the other parts."""

import numpy as np
from hypothesis import given, strategies as st

from sctab.sampling import clusters_of_types


def test_each_part_has_a_cluster_of_each_type():
    rng = np.random.default_rng(0)
    codes, clusters = np.repeat([0, 1], 90), np.tile(np.repeat([0, 1, 2], 30), 2)
    centres = np.array([[0, 0], [10, 0], [0, 10]]) + 0.0
    components = centres[clusters] + 100 * codes[:, None] + rng.normal(size=(180, 2))
    order = rng.permutation(180)
    parts = clusters_of_types(components[order], codes[order], 3, rng=np.random.default_rng(1))
    for code in (0, 1):
        of_type = codes[order] == code
        for cluster in range(3):
            assert len(np.unique(parts[of_type & (clusters[order] == cluster)])) == 1
        assert set(parts[of_type]) == {0, 1, 2}
    again = clusters_of_types(components[order], codes[order], 3, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(parts, again)
    seeds = [clusters_of_types(components, codes, 3, rng=np.random.default_rng(seed)) for seed in range(8)]
    assert len({tuple(parts) for parts in seeds}) > 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(2, 5), st.integers(0, 3))
def test_every_cell_is_in_a_part_and_no_type_is_in_one_alone(codes, n_parts, seed):
    rng = np.random.default_rng(seed)
    components, codes = rng.normal(size=(len(codes), 3)), np.array(codes)
    parts = clusters_of_types(components, codes, n_parts, rng=rng)
    assert ((parts >= 0) & (parts < n_parts)).all()
    for code in np.unique(codes):
        assert len(np.unique(parts[codes == code])) == min(n_parts, (codes == code).sum())


def test_equal_cells_cannot_be_told_apart():
    parts = clusters_of_types(np.ones((6, 2)), np.zeros(6, dtype=int), 3, rng=np.random.default_rng(0))
    assert len(np.unique(parts)) == 1
