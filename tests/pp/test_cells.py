"""Labels and donors of cells that are chosen from."""

import numpy as np
import pytest
from tests.reference import make_reference

from sctab import KeyNotFoundError, LabelError
from sctab.pp._cells import codes, labels_and_donors, mask


@pytest.fixture
def reference():
    return make_reference()


def test_numbers_follow_the_alphabet_and_not_the_order_of_categories(reference):
    before = codes(reference, "cell_type", "labels_key")
    categories = reference.obs["cell_type"].astype("category").cat.categories
    reference.obs["cell_type"] = reference.obs["cell_type"].astype("category").cat.reorder_categories(categories[::-1])
    np.testing.assert_array_equal(codes(reference, "cell_type", "labels_key"), before)
    assert sorted(set(before)) == list(range(len(categories)))


def test_cells_without_a_label_need_no_donor(reference):
    for key in ("cell_type", "donor_id"):
        reference.obs[key] = reference.obs[key].astype(object)
        reference.obs.iloc[:3, reference.obs.columns.get_loc(key)] = None
    labels, donors = labels_and_donors(reference, "cell_type", "donor_id")
    assert (labels[:3] == -1).all()
    assert (donors[:3] == -1).all()
    reference.obs.iloc[3, reference.obs.columns.get_loc("donor_id")] = None
    with pytest.raises(LabelError, match=r"has no donor \(NaN\) for 1 of"):
        labels_and_donors(reference, "cell_type", "donor_id")


def test_a_column_that_is_not_there_is_named(reference):
    with pytest.raises(KeyNotFoundError, match="`labels_key='mood'` is not in `adata.obs`"):
        codes(reference, "mood", "labels_key")


def test_a_mask_of_positions():
    assert mask(np.array([2, 0]), 4).tolist() == [True, False, True, False]
