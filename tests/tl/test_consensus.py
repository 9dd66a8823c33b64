"""Consensus of labels of several tools in an AnnData and on the command line."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctab
from sctab import InputTypeError, KeyNotFoundError, LabelError, SctabWarning, SettingError
from sctab.ontology import CellOntology
from sctab.tl._consensus import ids_beside

KEYS = ["a", "b"]


@pytest.fixture
def adata():
    obs = pd.DataFrame(
        {
            "a": pd.Categorical(["T cell", "B cell", "monocyte", None, "T cell"]),
            "b": ["CD4 T cells", "B cells", "CD8 T cells", "NK cells", np.nan],
            "empty": [None] * 5,
            "numbers": [0, 1, 2, 0, 1],
            "fractions": [0.5, np.nan, 1.5, 2.5, 1.0],
        },
        index=[f"c{i}" for i in range(5)],
    )
    return AnnData(sparse.csr_matrix((5, 2), dtype=np.float32), obs=obs)


def test_what_is_written(adata):
    before = adata.copy()
    found = sctab.tl.consensus(adata, KEYS, copy=True)
    assert set(found.obs) - set(adata.obs) == {
        "sctab_consensus",
        "sctab_consensus_id",
        "sctab_agreement",
        "sctab_consensus_n_labels_below",
    }
    assert found.obs["sctab_agreement"].astype(object).tolist() == ["nested", "same", "conflict", "single", "single"]
    assert found.obs["sctab_consensus"].astype(object).where(found.obs["sctab_consensus"].notna(), None).tolist() == [
        "T cell",
        "B cell",
        None,
        "natural killer cell",
        "T cell",
    ]
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    table = sctab.get.consensus(found)
    assert table.set_index("agreement")["cells"].sum() == 5
    assert list(sctab.get.consensus(found, "combinations").columns[:2]) == KEYS
    assert set(sctab.get.consensus(found, "labels")["source"]) == set(KEYS)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_it_can_be_written_and_read(adata, tmp_path, suffix):
    sctab.tl.consensus(adata, KEYS, max_labels_below=3)
    adata.obs = adata.obs.drop(columns=["empty"])
    path = tmp_path / f"a{suffix}"
    adata.write_h5ad(path) if suffix == ".h5ad" else adata.write_zarr(path)
    again = ad.read_h5ad(path) if suffix == ".h5ad" else ad.read_zarr(path)
    pd.testing.assert_frame_equal(sctab.get.consensus(again, "labels"), sctab.get.consensus(adata, "labels"), check_dtype=False)


def test_duplicated_names_of_cells(adata):
    adata.obs_names = ["c"] * 5
    sctab.tl.consensus(adata, KEYS)
    assert adata.obs["sctab_agreement"].astype(object).tolist() == ["nested", "same", "conflict", "single", "single"]


def test_what_was_not_mapped_is_told_with_the_fix(adata):
    adata.obs["c"] = ["mature eosinofil", "B cell", "Unassigned", "B cell", "B cell"]
    with pytest.warns(SctabWarning) as caught:
        sctab.tl.consensus(adata, ["a", "c"])
    told = " ".join(str(each.message) for each in caught)
    assert "1 of 3 labels of `c` (1 cells) are not certain" in told
    assert "`mature eosinophil`" in told
    assert "`label_ids`" in told
    assert "`Unassigned` in `c` (1 cells) says that no type is known" in told


def test_given_ids(adata):
    adata.obs["c"] = ["mine", "mine", "B cell", "B cell", "B cell"]
    with pytest.warns(SctabWarning, match="1 of 2 labels of the label map are not in the columns: `absent`"):
        sctab.tl.consensus(adata, ["a", "c"], label_ids={"mine": "CL:0000084", "absent": "CL:0000236"})
    assert adata.obs["sctab_agreement"].iloc[0] == "same"


def test_ids_in_the_column_beside(adata):
    adata.obs["x"] = ["mine", "mine", "other", "both", "both"]
    adata.obs["x_ontology_term_id"] = ["CL:0000084", "CL:0000084", "CL:99", "CL:0000084", "CL:0000236"]
    assert ids_beside(adata.obs, "x", CellOntology.embedded()) == {"mine": "CL:0000084"}
    assert ids_beside(adata.obs, "a", CellOntology.embedded()) == {}


@pytest.mark.parametrize(
    ("keys", "options", "error", "message"),
    [
        (["a"], {}, SettingError, "fewer than two columns, and one tool has nothing to agree with"),
        ("a", {}, SettingError, "fewer than two columns"),
        ([], {}, SettingError, "fewer than two columns"),
        (["a", "a"], {}, SettingError, "names a column twice"),
        (["a", "B"], {}, KeyNotFoundError, "`keys='B'` is not in `adata.obs`"),
        (["a", "empty"], {}, LabelError, r"`adata.obs\['empty'\]` has no label \(all are missing"),
        (
            ["a", "numbers"],
            {},
            LabelError,
            "has no label that is certain in the Cell Ontology .*: `0`, `1`, `2`.*Name a column of cell types",
        ),
        (["a", "fractions"], {}, LabelError, "has no label that is certain"),
        (KEYS, {"max_labels_below": 0}, SettingError, "`max_labels_below=0` must be at least 1"),
        (KEYS, {"label_ids": {"T cell": "CL:1"}}, LabelError, "not in the Cell Ontology"),
        (KEYS, {"key_added": "a/b"}, SettingError, "cannot be the name"),
    ],
)
def test_refusals_leave_everything_as_it_was(adata, keys, options, error, message):
    before = adata.copy()
    with pytest.raises(error, match=message):
        sctab.tl.consensus(adata, keys, **options)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


def test_it_is_about_an_anndata():
    with pytest.raises(InputTypeError):
        sctab.tl.consensus(pd.DataFrame(), KEYS)


def test_two_hundred_labels():
    ontology = CellOntology.embedded()
    names = [ontology.name(term) for term in sorted(ontology.descendants("leukocyte"))[:200]]
    adata = AnnData(obs=pd.DataFrame({"a": names, "b": [*names[1:], names[0]]}, index=[f"c{i}" for i in range(200)]))
    sctab.tl.consensus(adata, KEYS)
    assert adata.obs["sctab_agreement"].notna().all()
