"""Splits against the columns that they write."""

import numpy as np
import pandas as pd
import pytest
from tests.reference import TYPES, make_reference

from sctab import KeyNotFoundError, LabelError, SettingError, pp


@pytest.fixture
def reference():
    return make_reference(n_donors=8)


def same_but_for(adata, before, column, key=None):
    """Whether nothing else was written."""
    assert list(adata.obs.columns) == [*before.obs.columns, column]
    assert set(adata.uns) == {*before.uns, *([] if key is None else [key])}
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


class TestSplit:
    def test_what_is_written(self, reference):
        before = reference.copy()
        assert pp.split(reference, "cell_type") is None
        same_but_for(reference, before, "sctab_split")
        splits = reference.obs["sctab_split"]
        assert list(splits.cat.categories) == ["train", "validation", "test"]
        table = pd.crosstab(splits, reference.obs["cell_type"])
        assert (table.to_numpy() == [[56] * 3, [12] * 3, [12] * 3]).all()  # 80 cells of each type

    def test_by_default_donors_are_whole_where_there_are_donors(self, reference):
        pp.split(reference, "cell_type", donor_key="donor_id")
        table = pd.crosstab(reference.obs["donor_id"], reference.obs["sctab_split"]) > 0
        assert (table.sum(axis=1) == 1).all()
        assert table.sum().to_dict() == {"train": 6, "validation": 1, "test": 1}

    def test_names_and_shares_are_those_given(self, reference):
        result = pp.split(reference, "cell_type", fractions={"learn": 0.5, "look": 0.5}, key_added="mine", copy=True)
        assert result.obs["mine_split"].value_counts().to_dict() == {"learn": 120, "look": 120}
        assert "mine_split" not in reference.obs

    def test_cells_without_a_label_have_no_split(self, reference):
        reference.obs.loc[reference.obs_names[:5], "cell_type"] = np.nan
        pp.split(reference, "cell_type", donor_key="donor_id")
        np.testing.assert_array_equal(reference.obs["sctab_split"].isna(), np.arange(240) < 5)

    def test_the_order_of_categories_does_not_matter(self, reference):
        other = reference.copy()
        other.obs["cell_type"] = other.obs["cell_type"].cat.reorder_categories(TYPES[::-1])
        pp.split(reference, "cell_type")
        pp.split(other, "cell_type")
        assert list(reference.obs["sctab_split"]) == list(other.obs["sctab_split"])

    @pytest.mark.parametrize("arguments", [{"labels_key": "celltype"}, {"labels_key": "cell_type", "donor_key": "patient"}])
    def test_a_column_that_is_not_there(self, reference, arguments):
        with pytest.raises(KeyNotFoundError, match=r"is not in `adata.obs`\..* Columns: `cell_type`, `donor_id`"):
            pp.split(reference, **arguments)

    def test_a_cell_without_a_donor(self, reference):
        reference.obs.loc[reference.obs_names[:5], "donor_id"] = np.nan
        with pytest.raises(LabelError, match=r"has no donor \(NaN\) for 5 of 240 cells"):
            pp.split(reference, "cell_type", donor_key="donor_id")

    def test_a_refusal_writes_nothing(self, reference):
        with pytest.raises(SettingError, match="sum to one"):
            pp.split(reference, "cell_type", fractions={"train": 0.5, "test": 0.4})
        assert "sctab_split" not in reference.obs
