"""Merging in memory against a corpus that was built from the same studies."""

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctab
from sctab import GeneOverlapError, InputValueError, SctabWarning, SettingError
from sctab.corpus import CorpusConfig, build


def test_it_has_the_cells_and_genes_of_a_corpus(declared, studies, tmp_path):
    pytest.importorskip("annbatch")
    merged = sctab.pp.merge(studies)
    corpus = build(CorpusConfig.of(declared | {"features": "union"}), tmp_path / "c")
    np.testing.assert_array_equal(merged.varm["sctab_measured"].T, corpus.is_measured)
    assert tuple(merged.var["ensembl_id"]) == corpus.features.ids
    first = {0: 0, 1: 120, 2: 240}
    for split in ("train", "validation", "test"):
        obs = corpus.obs(split)
        X = sparse.vstack([group_matrix(group) for group in corpus.collection(split)], format="csr")
        rows = [first[source] + row for source, row in zip(obs["source"], obs["row"], strict=True)]
        assert (merged.X[rows] != X).nnz == 0
        assert list(merged.obs["cell_type"].iloc[rows]) == list(obs["label"])


def group_matrix(group):
    import anndata as ad

    return ad.io.read_elem(group["X"])


def test_nothing_is_changed_and_names_are_unique(studies):
    before = studies["one"].copy()
    merged = sctab.pp.merge([studies["one"], studies["one"]], features="intersection")
    assert merged.obs_names.is_unique
    assert merged.obs["sctab_source"].value_counts().to_dict() == {"0": 120, "1": 120}
    assert (studies["one"].X != before.X).nnz == 0
    pd.testing.assert_frame_equal(studies["one"].obs, before.obs)


def test_species_and_genes_in_rows(studies):
    studies["one"].uns["organism"] = "Homo sapiens"
    studies["two"].obs["organism"] = "Mus musculus"
    with pytest.warns(
        SctabWarning, match=r"several species: 120 of human \(`uns\['organism'\]` of `one`.*of mouse .*the merged data"
    ):
        sctab.pp.merge(studies)
    turned = studies["three"].T.copy()
    with pytest.raises(GeneOverlapError, match="^The genes are in the rows: `ENSG00000105374`"):
        sctab.pp.merge({"turned": turned})


def test_genes_of_a_model(studies):
    model = sctab.zoo.load("pbmc", accelerator="cpu")
    merged = sctab.pp.merge(studies, features=model.spec.features)
    assert list(merged.var_names) == list(model.spec.features.names)


def test_refusals(studies):
    with pytest.raises(SettingError, match="There is no dataset to merge"):
        sctab.pp.merge([])
    with pytest.raises(SettingError, match=r"`features='mood'` must be"):
        sctab.pp.merge(studies, features="mood")
    with pytest.raises(GeneOverlapError, match="`three` shares no gene with the others|`two`"):
        sctab.pp.merge({name: studies[name] for name in ("two", "three")})
    logarithms = AnnData(
        sparse.csr_matrix(np.log1p(studies["two"].X.toarray() / studies["two"].X.sum(axis=1) * 1e4)),
        obs=studies["two"].obs,
        var=studies["two"].var,
    )
    with pytest.raises(InputValueError, match=r"Some datasets hold counts and others, `two`, do not"):
        sctab.pp.merge(studies | {"two": logarithms})


class TestTypesOfColumns:
    """Against anndata, which reads what was written, and against the values of each dataset."""

    @pytest.fixture
    def merge(self, studies):
        def merge(*columns):
            datasets = {}
            for (name, study), values in zip(studies.items(), columns, strict=False):
                datasets[name] = AnnData(study.X[:2], obs=pd.DataFrame({"x": values}, index=["a", "b"]), var=study.var)
                if values is None:
                    del datasets[name].obs["x"]
            return sctab.pp.merge(datasets).obs["x"]

        return merge

    def test_categories_are_those_of_all(self, merge):
        merged = merge(pd.Categorical(["t", "b"], ["t", "b", "unused"]), pd.Categorical(["nk", "b"], ["nk", "b"]))
        assert list(merged.cat.categories) == ["nk", "t", "b", "unused"]
        assert list(merged) == ["t", "b", "nk", "b"]
        assert not merged.cat.ordered

    def test_they_are_missing_where_a_dataset_has_no_such_column(self, merge):
        merged = merge(pd.Categorical(["t", None]), None)
        assert list(merged.cat.categories) == ["t"]
        assert merged.isna().tolist() == [False, True, True, True]

    @pytest.mark.parametrize(
        ("orders", "expected"),
        [
            ((["low", "high"], ["low", "high"]), ["low", "high"]),
            ((["low", "middle"], ["middle", "high"]), ["low", "middle", "high"]),
            ((["low", "high"], ["low", "middle", "high"]), ["low", "middle", "high"]),
        ],
    )
    def test_an_order_is_kept(self, merge, orders, expected):
        merged = merge(*(pd.Categorical([order[0], order[-1]], order, ordered=True) for order in orders))
        assert merged.cat.ordered
        assert list(merged.cat.categories) == expected

    @pytest.mark.parametrize(
        "orders",
        [(["low", "high"], ["high", "low"]), (["low", "high"], ["low", "middle"])],
        ids=["contradict", "do not compare"],
    )
    def test_an_order_is_not_made_up(self, merge, orders):
        with pytest.warns(SctabWarning, match=r"categories of `obs\['x'\]` are ordered differently"):
            merged = merge(*(pd.Categorical(order, order, ordered=True) for order in orders))
        assert not merged.cat.ordered
        assert list(merged) == [*orders[0], *orders[1]]

    @pytest.mark.parametrize(
        ("columns", "dtype", "values"),
        [
            (([True, False], [False, False]), "bool", [True, False, False, False]),
            (([True, False], None), "boolean", [True, False, None, None]),
            (([1, 2], None), "Int64", [1, 2, None, None]),
            ((pd.array([True, None], dtype="boolean"), [True, False]), "boolean", [True, None, True, False]),
            ((pd.array([1, None], dtype="Int32"), None), "Int32", [1, None, None, None]),
            ((pd.array(["u", None], dtype="string"), None), "string", ["u", None, None, None]),
            (([0.5, 1.0], None), "float64", [0.5, 1.0, None, None]),
        ],
    )
    def test_of_other_types(self, merge, columns, dtype, values):
        merged = merge(*columns)
        assert merged.dtype == dtype
        assert [None if pd.isna(value) else value for value in merged] == values

    def test_they_are_written_and_read(self, studies, tmp_path):
        studies["one"].obs["is_control"] = True
        studies["one"].obs["stage"] = pd.Categorical(["early"] * 120, ["early", "late"], ordered=True)
        merged = sctab.pp.merge(studies)
        merged.write_h5ad(tmp_path / "a.h5ad")
        pd.testing.assert_frame_equal(
            anndata.read_h5ad(tmp_path / "a.h5ad").obs[["is_control", "stage"]], merged.obs[["is_control", "stage"]]
        )
