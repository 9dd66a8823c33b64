"""Columns of the data beside those of a format."""

import numpy as np
import pandas as pd
import pytest

from sctab.errors import InputValueError
from sctab.export._observations import build_obs

NAMES = ["a", "b", "c"]


def built(obs, new=None, target="cellxgene", taken=(), names=NAMES):
    return build_obs(pd.DataFrame(obs), names, new or {"donor_id": pd.Categorical(["d"] * 3)}, target=target, taken_from_obs=taken)


def test_columns_of_the_portal_are_renamed():
    found, notes = built({"cell_type": ["T"] * 3, "author_cell_type": ["t"] * 3, "donor_id": ["x"] * 3, "__mine": [1] * 3})
    assert list(found.columns) == ["author_cell_type_2", "author_cell_type", "author_donor_id", "donor_id"]
    assert "`cell_type → author_cell_type_2`" in notes[0]
    assert "`__mine`" in notes[1]
    found, notes = built({"donor_id": ["x"] * 3}, taken={"donor_id"})
    assert (list(found.columns), notes) == (["donor_id"], [])
    assert list(built({"cell_type": ["T"] * 3}, target="cap")[0].columns) == ["cell_type", "donor_id"]


def test_values_are_those_that_portals_read():
    found, _ = built(
        {
            "text": ["x", None, "<script>"],
            "unused": pd.Categorical(["p", "p", "p"], categories=["p", "q"]),
            "number": [1.5, np.nan, 2],
            "flag": [True, False, True],
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "mixed": pd.Series([1, "1", None], dtype=object),
            "years": pd.Categorical([30, 40, 30]),
        }
    )
    assert list(found["text"].cat.categories) == ["<script>", "x"]
    assert list(found["unused"].cat.categories) == ["p"]
    assert (found["number"].dtype, found["flag"].dtype, found["whole"].dtype) == (np.float64, bool, np.float64)
    assert list(found["maybe"].cat.categories) == ["False", "True"]
    assert list(found["mixed"].cat.categories) == ["1"]
    assert found["mixed"].isna().tolist() == [False, False, True]
    assert list(found["years"].cat.categories) == ["30", "40"]
    assert list(found.index) == NAMES


def test_names_must_be_unique():
    with pytest.raises(InputValueError, match="1 names of cells occur more than once: `a`"):
        built({}, names=["a", "a", "b"])
