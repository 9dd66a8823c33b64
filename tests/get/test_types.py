"""`get.types`: a row per type."""

import numpy as np
import pytest
from tests.annotated import NAMES, annotated

import sctab
from sctab import KeyNotFoundError


def test_numbers_by_hand():
    table = sctab.get.types(annotated(n_without=20)).set_index("type")
    assert table.index.tolist() == [NAMES[2], NAMES[0], NAMES[1], NAMES[3], "no label"], "cells without a label come last"
    assert table["cells"].tolist() == [10, 5, 3, 2, 20]
    assert table.loc["B cell", "id"] == "CL:0000236"
    assert table.loc["no label", "id"] == ""
    assert table.loc["B cell", "fraction"] == 5 / 40
    assert table.loc["B cell", "confidence"] == pytest.approx(0.6)
    assert table.loc["B cell", "doubtful"] == pytest.approx(2 / 5), "0.45 and 0.3 of 0.9, 0.75, 0.6, 0.45, 0.3"
    assert table.loc["B cell", ["term", "term_fraction", "left_open"]].tolist() == ["B cell", 4 / 5, 1 / 5]
    assert table.loc["B cell", "unseen"] == 1 / 5
    assert np.isnan(table.loc["no label", "confidence"])


def test_without_a_promise_and_without_a_test():
    table = sctab.get.types(annotated(unseen=False, terms=False))
    assert table["term"].eq("").all()
    assert table[["term_fraction", "left_open", "unseen"]].isna().all(axis=None)


def test_not_annotated():
    adata = annotated()
    with pytest.raises(KeyNotFoundError, match="The data has no annotation under `other`. It has annotations under `sctab`"):
        sctab.get.types(adata, key_added="other")
