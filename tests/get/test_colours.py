"""Colours that scanpy stores."""

import pytest
from tests.annotated import annotated

from sctab.get import stored_colours


def test_by_category():
    adata = annotated()
    adata.uns["sctab_label_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    assert stored_colours(adata)["natural killer cell"] == "#333333"
    adata.uns["donor_colors"] = ["red", "blue"]
    assert stored_colours(adata, "donor") == {"a": "red", "b": "blue"}


@pytest.mark.parametrize("stored", [["#000000"], "#000000", None, 7], ids=["wrong length", "a string", "missing", "a number"])
def test_what_does_not_fit_is_ignored(stored):
    adata = annotated()
    adata.uns["sctab_label_colors"] = stored
    assert stored_colours(adata) == {}
    assert stored_colours(adata, "nope") == {}
