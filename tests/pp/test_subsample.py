"""Subsamples of cells and of donors."""

from itertools import pairwise

import anndata as ad
import numpy as np
import pytest
from tests.reference import make_reference

from sctab import KeyNotFoundError, LabelError, SettingError, pp


@pytest.fixture
def reference():
    return make_reference(n_donors=8)


class TestSubsample:
    @pytest.mark.parametrize(
        ("by", "n_obs"), [({}, [36, 72, 120, 168, 240]), ({"by": "donor", "donor_key": "donor_id"}, [60, 90, 120, 180, 240])]
    )
    def test_smaller_shares_lie_in_larger_ones(self, reference, by, n_obs):
        found = [pp.subsample(reference, fraction, seed=3, **by) for fraction in (0.15, 0.3, 0.5, 0.7, 1.0)]
        assert [adata.n_obs for adata in found] == n_obs  # 8 donors of 30 cells: 2, 3, 4, 6 and 8 of them
        for smaller, larger in pairwise(found):
            assert smaller.obs_names.isin(larger.obs_names).all()
        assert list(found[-1].obs_names) == list(reference.obs_names)

    def test_what_is_given_is_a_part_of_the_data(self, reference):
        before = reference.copy()
        found = pp.subsample(reference, 0.2)
        assert not found.is_view
        np.testing.assert_array_equal(found.X.toarray(), before[found.obs_names].X.toarray())
        assert list(found.obs.columns) == list(before.obs.columns)
        found.X.data[:] = 0
        np.testing.assert_array_equal(reference.X.toarray(), before.X.toarray())

    def test_donors_are_whole(self, reference):
        found = pp.subsample(reference, 0.5, by="donor", donor_key="donor_id")
        assert found.obs["donor_id"].value_counts().loc[lambda counts: counts > 0].tolist() == [30] * 4

    def test_the_seed_decides(self, reference):
        one, same, other = (list(pp.subsample(reference, 0.2, seed=seed).obs_names) for seed in (0, 0, 1))
        assert one == same != other

    def test_the_order_of_categories_does_not_matter(self, reference):
        other = reference.copy()
        other.obs["donor_id"] = other.obs["donor_id"].cat.reorder_categories(other.obs["donor_id"].cat.categories[::-1])
        one, two = (pp.subsample(adata, 0.3, by="donor", donor_key="donor_id").obs_names for adata in (reference, other))
        assert list(one) == list(two)

    def test_backed(self, reference, tmp_path):
        reference.write_h5ad(tmp_path / "reference.h5ad")
        found = pp.subsample(ad.read_h5ad(tmp_path / "reference.h5ad", backed="r"), 0.2)
        assert not found.isbacked
        assert list(found.obs_names) == list(pp.subsample(reference, 0.2).obs_names)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"fraction": 0}, SettingError, "`fraction=0` must be above 0 and at most 1"),
            ({"by": "sample"}, SettingError, "`by='sample'` must be `'cell'` or `'donor'`"),
            ({"by": "donor"}, SettingError, "`by='donor'` and `donor_key=…` together"),
            ({"donor_key": "donor_id"}, SettingError, "`by='donor'` and `donor_key=…` together"),
            ({"by": "donor", "donor_key": "patient"}, KeyNotFoundError, "`donor_key='patient'` is not in `adata.obs`"),
        ],
    )
    def test_refusals(self, reference, arguments, error, message):
        with pytest.raises(error, match=message):
            pp.subsample(reference, **{"fraction": 0.5} | arguments)

    def test_a_cell_without_a_donor(self, reference):
        reference.obs.loc[reference.obs_names[:5], "donor_id"] = np.nan
        with pytest.raises(LabelError, match=r"has no donor \(NaN\) for 5 of 240 cells"):
            pp.subsample(reference, 0.5, by="donor", donor_key="donor_id")
