"""`get.comparison`: two columns of labels along the ontology."""

import pandas as pd
import pytest
from tests.annotated import annotated

import sctab
from sctab import KeyNotFoundError


def test_how_labels_stand_to_each_other():
    adata = annotated(n_without=1)
    adata.obs["given"] = pd.Categorical(
        [*["lymphocyte"] * 5, *["monocyte"] * 2, "B cell", *["naive T cell"] * 4, *["my own"] * 6, *["NK cell"] * 2, None]
    )
    table = sctab.get.comparison(adata, "given").set_index(["label", "other"])
    assert table["cells"].sum() == adata.n_obs
    found = table["agreement"].to_dict()
    assert found["lymphocyte", "B cell"] == "narrower"
    assert found["monocyte", "CD14-positive monocyte"] == "narrower"
    assert found["B cell", "CD14-positive monocyte"] == "different"
    assert found["NK cell", "natural killer cell"] == "same", "a synonym"
    assert found["my own", "CD4-positive, alpha-beta T cell"] == "unknown"
    assert found["no label", "no label"] == "unknown"
    labels = list(dict.fromkeys(table.index.get_level_values(0)))
    assert labels[-2:] == ["my own", "no label"]
    assert table.groupby("label", observed=True)["fraction"].sum().tolist() == pytest.approx([1] * len(labels))


def test_broader():
    adata = annotated(names=("T cell",), sizes=(2,))
    adata.obs["given"] = "CD4-positive, alpha-beta T cell"
    assert sctab.get.comparison(adata, "given")["agreement"].tolist() == ["broader"]


def test_two_other_columns():
    table = sctab.get.comparison(annotated(), "authors", "donor")
    assert set(table["other"]) == {"a", "b"}
    with pytest.raises(KeyNotFoundError, match="labels_key='nope'"):
        sctab.get.comparison(annotated(), "nope")
    with pytest.raises(KeyNotFoundError, match="other_key='nope'"):
        sctab.get.comparison(annotated(), "authors", "nope")
