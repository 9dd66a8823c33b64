"""What is special about CAP."""

import pytest
from tests.annotated import annotated

from sctab.errors import KeyNotFoundError
from sctab.export._cap import default_set, rationale, require_annotated
from sctab.export._cell_types import cell_types


def test_a_rationale_says_what_is_known():
    adata = annotated(unseen=False)
    for answer, said in (("label", "median confidence"), ("term", "an error of 10% is promised")):
        types = cell_types(adata, answer=answer, label_ids=None, key_added="sctab")
        row = types.table.to_dict("records")[0]
        text = rationale(row, types, adata.uns["sctab"], "CD79A, MS4A1")
        assert said in text
        assert text.endswith("Genes that speak for it: CD79A, MS4A1.")
        assert f"{int(row['cells'])} cells" in text


def test_a_run_is_needed():
    adata = annotated(key="mine")
    assert require_annotated(adata, "mine")["model"]["name"] == "pbmc"
    with pytest.raises(KeyNotFoundError, match="the record of the annotation, does not exist"):
        require_annotated(adata, "sctab")
    assert default_set("mine") == "mine_cell_type"
