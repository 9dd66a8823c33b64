"""`tl.vote`: labels and terms of groups of cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from tests.reference import make_reference
from tests.votes import CD4, CD8, CELLS, MONOCYTE, B, annotated

import sctab
from sctab import InputValueError, KeyNotFoundError, SctabWarning, SettingError
from sctab.model import LinearClassifier

T = "mature alpha-beta T cell"
MIXED = [*[CD4] * 12, *[CD8] * 7, B]


def test_by_hand():
    """12 CD4 T cells of 20, 7 CD8 T cells and a B cell: the mean probabilities are 0.49, 0.365, 0.11 and 0.035."""
    adata = annotated([*MIXED, B, B], groups=[*["0"] * 20, "1", None])
    assert sctab.tl.vote(adata) is None
    assert adata.obs["sctab_vote"].tolist()[:-1] == [CD4] * 20 + [B]
    assert adata.obs["sctab_vote_id"].tolist()[:-1] == ["CL:0000624"] * 20 + ["CL:0000236"]
    assert adata.obs["sctab_vote_share"].tolist()[:-1] == pytest.approx([0.6] * 20 + [1.0])
    assert adata.obs.iloc[-1][["sctab_vote", "sctab_vote_id", "sctab_vote_share"]].isna().all()
    assert isinstance(adata.obs["sctab_vote"].dtype, pd.CategoricalDtype)
    mixed, clear = sctab.get.vote(adata).to_dict("records")
    assert mixed == {
        "group": "0",
        "n_cells": 20,
        "n_voting": 20,
        "label": CD4,
        "id": "CL:0000624",
        "share": pytest.approx(0.6),
        "second": CD8,
        "second_share": pytest.approx(0.35),
        "reason": f"Mixed: 60% {CD4}, 35% {CD8}; common term: {T}.",
    }
    assert (clear["second"], clear["second_share"], clear["reason"]) == ("", 0.0, "")


def test_types_that_have_nothing_in_common():
    adata = annotated([B, B, MONOCYTE], groups=["x"] * 3)
    adata.uns["sctab"]["labels"]["ids"] = np.array(["", "", "", ""])
    sctab.tl.vote(adata)
    assert sctab.get.vote(adata)["reason"].tolist() == [f"Mixed: 67% {B}, 33% {MONOCYTE}; they have no term in common."]


def test_cells_that_were_not_measured():
    adata = annotated([CD4, "", ""], groups=["a", "a", "b"])
    sctab.tl.vote(adata)
    assert adata.obs["sctab_vote"].tolist()[:2] == [CD4, CD4]
    assert adata.obs["sctab_vote"].isna().tolist() == [False, False, True]
    table = sctab.get.vote(adata)
    assert table[["n_cells", "n_voting"]].to_numpy().tolist() == [[2, 1], [1, 0]]
    assert table["label"].tolist() == [CD4, ""]
    assert table["reason"].tolist() == ["", "No cell has a label."]


def test_terms_by_hand():
    """Of 20 cells `CD4` covers 11, their common term 19 and nothing all: 95 % are at or below the term, and 0.9 are needed."""
    adata = annotated(MIXED, groups=["0"] * 20, terms=[*[CD4] * 11, T, *[CD8] * 7, None])
    sctab.tl.vote(adata)
    (row,) = sctab.get.vote(adata).to_dict("records")
    assert (row["term"], row["term_id"], row["n_labels_below"]) == (T, "CL:0000791", 2)
    assert row["term_share"] == pytest.approx(0.95)
    assert set(adata.obs["sctab_vote_term"]) == {T}
    assert set(adata.obs["sctab_vote_term_id"]) == {"CL:0000791"}

    sctab.tl.vote(adata, accepted_error=0.55)
    assert sctab.get.vote(adata)["term"].tolist() == [CD4]
    sctab.tl.vote(adata, accepted_error=0.14)
    (row,) = sctab.get.vote(adata).to_dict("records")
    assert (row["term"], row["term_id"], row["n_labels_below"]) == ("", "", 4)
    assert row["reason"].endswith("No term covers 96% of its cells.")
    assert adata.obs["sctab_vote_term"].isna().all()


def test_a_promise_that_was_withdrawn():
    adata = annotated([CD4], groups=["0"], terms=[CD4])
    adata.uns["sctab"]["promise"]["is_kept"] = False
    with pytest.warns(SctabWarning, match="was withdrawn when they were annotated, so terms of groups promise nothing either"):
        sctab.tl.vote(adata)
    assert adata.obs["sctab_vote_term"].tolist() == [CD4]


def test_a_hierarchy_of_the_user():
    tree = {CD4: "lymphoid", CD8: "lymphoid", B: "lymphoid"}
    adata = annotated([CD4, B], groups=["0", "0"], terms=["lymphoid", B], hierarchy=tree)
    before = adata.copy()
    with pytest.raises(SettingError, match="another hierarchy of labels. Provide the `label_hierarchy`"):
        sctab.tl.vote(adata)
    assert list(adata.obs) == list(before.obs)
    sctab.tl.vote(adata, label_hierarchy=tree)
    assert sctab.get.vote(adata)["term"].tolist() == ["lymphoid"]


def test_columns_of_an_earlier_vote_do_not_stay():
    adata = annotated([CD4], groups=["0"], terms=[CD4])
    sctab.tl.vote(adata)
    assert "sctab_vote_term" in adata.obs
    del adata.obs["sctab_term"]
    sctab.tl.vote(adata)
    assert "sctab_vote_term" not in adata.obs
    assert "term" not in sctab.get.vote(adata)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param([1, 1, 2], ["1", "2"], id="integers"),
        pytest.param([1.0, 1.0, np.nan], ["1"], id="integers beside missing values"),
        pytest.param(["x", "x", None], ["x"], id="strings"),
        pytest.param(pd.Categorical(["b", "b", "a"], categories=["b", "unused", "a"]), ["b", "a"], id="categories"),
        pytest.param([True, True, False], ["False", "True"], id="booleans"),
    ],
)
def test_columns_of_groups(values, names):
    adata = annotated([CD4, CD4, B])
    adata.obs["mine"] = values
    sctab.tl.vote(adata, "mine")
    assert sctab.get.vote(adata)["group"].tolist() == names
    assert adata.obs["sctab_vote"].tolist()[:2] == [CD4, CD4]


def test_default_groups():
    adata = annotated([CD4, CD4, B])
    adata.obs["louvain"] = ["0", "0", "1"]
    sctab.tl.vote(adata)
    assert len(sctab.get.vote(adata)) == 2
    adata.obs["leiden"] = ["a", "a", "a"]
    sctab.tl.vote(adata)
    assert sctab.get.vote(adata)["group"].tolist() == ["a"]


def test_copies_and_files(tmp_path):
    adata = annotated(MIXED, groups=["0"] * 19 + [None], terms=[*[CD4] * 12, *[CD8] * 7, None], key="mine")
    voted = sctab.tl.vote(adata, key_added="mine", copy=True)
    assert "mine_vote" not in adata.uns
    voted.write_h5ad(tmp_path / "a.h5ad")
    voted.write_zarr(tmp_path / "a.zarr")
    for found in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(
            sctab.get.vote(found, key_added="mine"), sctab.get.vote(voted, key_added="mine"), check_dtype=False
        )
        assert found.obs["mine_vote"].tolist()[:-1] == voted.obs["mine_vote"].tolist()[:-1]
        sctab.tl.vote(found, key_added="mine")  # from what was stored


def test_after_annotation(tmp_path):
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=10, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(90, seed=7)
    query.obs["cluster"] = query.obs["cell_type"].cat.codes
    sctab.tl.annotate(query, model, accepted_error=0.3)
    sctab.tl.vote(query, "cluster")
    assert query.obs["sctab_vote"].tolist() == query.obs["cell_type"].tolist()
    of_cells = query.obs["sctab_label"].astype(str) == query.obs["sctab_vote"].astype(str)
    assert query.obs["sctab_vote_share"].to_numpy() == pytest.approx(of_cells.groupby(query.obs["cluster"]).transform("mean"))
    assert set(sctab.get.vote(query)["term"]) <= set(query.uns["sctab"]["promise"]["terms"]) | {""}
    covers = query.obs["sctab_term"].astype(str) == query.obs["sctab_vote_term"].astype(str)
    assert covers.any()


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.sampled_from([*CELLS]), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_order_and_names_do_not_matter(labels, seed):
    rng = np.random.default_rng(seed)
    groups = rng.choice(["p", "q", "r"], size=len(labels))
    adata = annotated(labels, groups=groups)
    sctab.tl.vote(adata)

    order = rng.permutation(len(labels))
    shuffled = adata[order].copy()
    sctab.tl.vote(shuffled)
    pd.testing.assert_frame_equal(shuffled.obs.filter(like="vote").loc[adata.obs_names], adata.obs.filter(like="vote"))
    pd.testing.assert_frame_equal(sctab.get.vote(shuffled), sctab.get.vote(adata))

    renamed = annotated(labels, groups=["z" + name for name in groups])
    sctab.tl.vote(renamed)
    pd.testing.assert_frame_equal(renamed.obs.filter(like="vote"), adata.obs.filter(like="vote"))
    pd.testing.assert_frame_equal(sctab.get.vote(renamed).drop(columns="group"), sctab.get.vote(adata).drop(columns="group"))


@given(labels=st.lists(st.sampled_from([*CELLS]), min_size=1, max_size=12))
def test_a_group_of_one_cell_has_its_label(labels):
    adata = annotated(labels, groups=np.arange(len(labels)))
    sctab.tl.vote(adata)
    assert adata.obs["sctab_vote"].astype(object).equals(adata.obs["sctab_label"].astype(object))


class TestRefusals:
    @pytest.fixture
    def adata(self):
        return annotated([CD4, B], groups=["0", "1"], terms=[CD4, None])

    def refused(self, adata, error, message, *args, **kwargs):
        before = adata.copy()
        with pytest.raises(error, match=message):
            sctab.tl.vote(adata, *args, **kwargs)
        pd.testing.assert_frame_equal(adata.obs, before.obs)
        assert list(adata.uns) == list(before.uns)

    def test_no_annotation(self, adata):
        self.refused(
            adata, KeyNotFoundError, "has no annotation under `other`. It has annotations under `sctab`", key_added="other"
        )

    def test_unknown_column(self, adata):
        self.refused(adata, KeyNotFoundError, "`groups='Leiden'` is not in `adata.obs`. Did you mean `leiden`", "Leiden")

    def test_no_probabilities(self, adata):
        del adata.obsm["sctab_probabilities"]
        self.refused(adata, KeyNotFoundError, "Votes need the probabilities of all labels.*no longer exists")

    def test_fractions(self, adata):
        adata.obs["share"] = [0.5, 0.25]
        self.refused(adata, InputValueError, "`groups='share'` holds fractions, which are not groups", "share")

    @pytest.mark.parametrize("accepted_error", [0.05, 0.1, 1])
    def test_an_error_that_cannot_be_promised(self, adata, accepted_error):
        self.refused(adata, SettingError, "must be above 0.1, that of the terms of the cells", accepted_error=accepted_error)

    def test_cells_without_terms(self):
        adata = annotated([CD4], groups=["0"])
        self.refused(adata, SettingError, "needs cells with promised terms.*below 0.2 first", accepted_error=0.2)

    def test_terms_that_are_not_of_the_annotation(self, adata):
        adata.obs["sctab_term"] = ["helper", None]
        self.refused(adata, InputValueError, "holds `helper`, which is not a term of the annotation")
