"""Types of an annotation, their terms and categories."""

import numpy as np
import pandas as pd
import pytest
from tests.annotated import annotated

from sctab.errors import KeyNotFoundError, SettingError
from sctab.export._cell_types import cell_types


def types(adata, answer="label", label_ids=None):
    return cell_types(adata, answer=answer, label_ids=label_ids, key_added="sctab")


def test_a_row_per_type():
    adata = annotated(n_without=2)
    found = types(adata)
    table = found.table.set_index("name")
    fits = ~adata.obs["sctab_is_unseen"]
    assert table["cells"].to_dict() == adata.obs["sctab_label"][fits].value_counts().reindex(table.index).to_dict()
    assert table.loc["B cell", ["id", "term", "category", "category_id"]].tolist() == [
        "CL:0000236",
        "B cell",
        "lymphocyte",
        "CL:0000542",
    ]
    np.testing.assert_allclose(
        table.loc["B cell", "doubtful"], (adata.obs["sctab_confidence"][:5] < 0.5)[found.codes[:5] >= 0].mean()
    )
    assert found.notes == []


def test_words_for_cells_without_a_type():
    adata = annotated(n_without=2)
    found = types(adata)
    values = found.values("name", unknown="unknown", missing="NA")
    unseen = adata.obs["sctab_is_unseen"].to_numpy()
    assert unseen.any()
    assert set(values[unseen]) == {"unknown"}
    assert list(values[-2:]) == ["NA", "NA"]
    assert found.values("id").isna().sum() == unseen.sum() + 2


def test_promised_terms_are_the_default():
    adata = annotated()
    found = types(adata, answer=None)
    assert found.answer == "term"
    open_cells = adata.obs["sctab_term"].isna().to_numpy()
    assert open_cells.any()
    assert found.is_unknown[open_cells].all()
    assert types(annotated(terms=False), answer=None).answer == "label"


def test_labels_without_an_id():
    adata = annotated(names=("B cell", "my/own <b>cluster</b>"), sizes=(3, 3), terms=False, unseen=False)
    found = types(adata)
    row = found.table.set_index("name").loc["my/own <b>cluster</b>"]
    assert row[["id", "term", "category", "category_id"]].tolist() == ["", "", "", ""]
    assert "1 of 2 types have no Cell Ontology id: `my/own <b>cluster</b>`. Provide ids as a label map." in found.notes
    given = types(adata, label_ids={"my/own <b>cluster</b>": "CL:0000084"})
    assert given.table.set_index("name").loc["my/own <b>cluster</b>", "term"] == "T cell"
    assert given.notes == []


def test_obsolete_ids(monkeypatch):
    adata = annotated(terms=False, unseen=False)
    adata.obs["sctab_vote"] = adata.obs["sctab_label"]
    ids = {"B cell": "CL:0000236", "natural killer cell": "CL:0002620", "CD14-positive monocyte": "CL:9999999"}
    adata.obs["sctab_vote_id"] = pd.Categorical(adata.obs["sctab_label"].astype(object).map(ids))
    found = types(adata, answer="vote")
    table = found.table.set_index("name")
    assert table.loc["B cell", "id"] == "CL:0000236"
    assert table.loc["CD14-positive monocyte", "id"] == ""
    assert any("were left out: `CD14-positive monocyte (CL:9999999)`" in note for note in found.notes)


def test_the_hierarchy_of_a_promise_gives_categories():
    adata = annotated(unseen=False)
    names = list(adata.uns["sctab"]["labels"]["names"])
    below = np.zeros((len(names) + 1, len(names)), dtype=bool)
    below[: len(names)] = np.eye(len(names), dtype=bool)
    below[-1, :2] = True
    adata.uns["sctab"]["promise"] |= {
        "terms": np.array([*names, "my group"]),
        "term_ids": np.array([*adata.uns["sctab"]["labels"]["ids"], ""]),
        "labels_below": below,
    }
    table = types(adata).table.set_index("name")
    assert table.loc[names[0], ["category", "category_id", "category_term"]].tolist() == ["my group", "", ""]
    assert table.loc[names[2], "category_id"].startswith("CL:")


def test_refusals():
    with pytest.raises(SettingError, match="`answer='guess'` is not known"):
        types(annotated(), answer="guess")
    with pytest.raises(KeyNotFoundError, match="Annotate with an accepted error first"):
        types(annotated(terms=False), answer="term")
