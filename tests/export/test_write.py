"""Files for portals, which their validators accept, and what is refused."""

import gzip
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.blood import CAP, LAB, as_mouse
from tests.validators import errors_of

import sctab
from sctab.data import Normalization, normalise
from sctab.errors import DataFileError, InputValueError, KeyNotFoundError, OutputExistsError, SettingError

pytestmark = pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
OF_MOUSE = {name: value for name, value in LAB.items() if "ethnicity" not in name} | {
    "development_stage_ontology_term_id": "mature stage"
}


@pytest.fixture(scope="session")
def exported(annotated_blood, tmp_path_factory):
    """Files by format and species."""
    folder = tmp_path_factory.mktemp("exported")
    mouse = as_mouse(annotated_blood)
    annotated_blood.write_h5ad(folder / "annotated.h5ad")
    wanted = {
        "human.cellxgene": (folder / "annotated.h5ad", LAB),
        "mouse.cellxgene": (mouse, OF_MOUSE),
        "human.cap": (folder / "annotated.h5ad", CAP),
        "mouse.cap": (mouse, CAP),
    }
    with warnings.catch_warnings(action="ignore"):
        for name, (cells, metadata) in wanted.items():
            sctab.export.write(cells, folder / f"{name}.h5ad", format=name.split(".")[1], metadata=metadata)
    return {name: folder / f"{name}.h5ad" for name in wanted}


def test_cellxgene_accepts_it(exported, annotated_blood, tmp_path):
    broken = ad.read_h5ad(exported["human.cellxgene"])
    broken.obs["cell_type_ontology_term_id"] = "CL:9"
    broken.write_h5ad(tmp_path / "broken.h5ad")
    human, mouse, errors = errors_of(
        "cellxgene", *(exported[f"{name}.cellxgene"] for name in ("human", "mouse")), tmp_path / "broken.h5ad"
    )
    assert (human, mouse) == ([], [])
    assert any("CL:9" in error for error in errors)


def test_cap_accepts_it(exported, tmp_path):
    broken = ad.read_h5ad(exported["human.cap"])
    del broken.obs["assay"], broken.obs["assay_ontology_term_id"]
    broken.write_h5ad(tmp_path / "broken.h5ad")
    human, mouse, errors = errors_of("cap", *(exported[f"{name}.cap"] for name in ("human", "mouse")), tmp_path / "broken.h5ad")
    assert (human, mouse) == ([], [])
    assert any("`assay`" in error for error in errors)


def test_counts_and_what_is_made_of_them(exported, annotated_blood):
    adata = ad.read_h5ad(exported["human.cellxgene"])
    assert adata.raw.X.dtype == np.float32
    assert adata.obs_names.equals(annotated_blood.obs_names)
    totals = np.asarray(adata.raw.X.sum(axis=1)).ravel()
    assert (totals <= np.asarray(annotated_blood.X.sum(axis=1)).ravel()).all()
    ids = dict(zip(adata.var_names, range(adata.n_vars), strict=True))
    of_cd3d = annotated_blood[:, "CD3D"].X.toarray().ravel()
    np.testing.assert_array_equal(adata.raw.X[:, ids["ENSG00000167286"]].toarray().ravel(), of_cd3d)
    np.testing.assert_allclose(adata.X.toarray(), normalise(adata.raw.X.tocsr(), Normalization()).toarray(), rtol=1e-6)
    assert not adata.var["feature_is_filtered"].any()
    assert list(adata.raw.var.columns) == []
    np.testing.assert_array_equal(adata.obsm["X_umap"], annotated_blood.obsm["X_umap"])


def test_types_of_cellxgene(exported, annotated_blood):
    obs = ad.read_h5ad(exported["human.cellxgene"]).obs
    unseen = annotated_blood.obs["sctab_is_unseen"].to_numpy()
    promised = annotated_blood.obs["sctab_term_id"].astype(object).to_numpy()
    assert unseen.any()
    assert (obs["cell_type_ontology_term_id"][unseen] == "unknown").all()
    assert (obs["cell_type_ontology_term_id"][~unseen & pd.isna(promised)] == "unknown").all()
    kept = ~unseen & ~pd.isna(promised) & ~np.isin(promised.astype(str), ["CL:0000255", "CL:0000548"])
    assert (obs["cell_type_ontology_term_id"].astype(str).to_numpy()[kept] == promised[kept]).all()
    adata = ad.read_h5ad(exported["mouse.cellxgene"])
    assert adata.uns["organism_ontology_term_id"] == "NCBITaxon:10090"
    assert (adata.obs["self_reported_ethnicity_ontology_term_id"] == "na").all()
    assert all(name.startswith("ENSMUSG") for name in adata.var_names)


def test_the_set_of_cap(exported, annotated_blood):
    adata = ad.read_h5ad(exported["human.cap"])
    obs = adata.obs
    assert set(obs["sctab_cell_type"][annotated_blood.obs["sctab_is_unseen"].to_numpy()]) == {"unknown"}
    b_cells = obs[obs["sctab_cell_type"] == "B cell"].iloc[0]
    assert b_cells["sctab_cell_type--cell_fullname"] == "B cell"
    assert b_cells["sctab_cell_type--cell_ontology_term_id"] == "CL:0000236"
    assert b_cells["sctab_cell_type--cell_ontology_exists"]
    assert b_cells["sctab_cell_type--category_cell_ontology_term_id"].startswith("CL:")
    assert "B lymphocyte" in b_cells["sctab_cell_type--synonyms"]
    markers = b_cells["sctab_cell_type--marker_gene_evidence"].split(", ")
    assert {"CD79A", "HLA-DRA"} & {*markers}
    assert {*markers} <= {*adata.var["gene_symbol"]}
    assert "model pbmc" in b_cells["sctab_cell_type--rationale"]
    assert "an error of 20% is promised" in b_cells["sctab_cell_type--rationale"]
    unknown = obs[obs["sctab_cell_type"] == "unknown"]
    assert not unknown["sctab_cell_type--cell_ontology_exists"].any()
    assert unknown["sctab_cell_type--cell_ontology_term_id"].isna().all()
    about = adata.uns["cellannotation_metadata"]["sctab_cell_type"]
    assert about["annotation_method"] == "algorithmic"
    assert about["algorithm_name"] == "sctab"
    assert (obs["tissue"].iloc[0], obs["organism"].iloc[0], obs["assay"].iloc[0]) == ("blood", "Homo sapiens", "10x 3' v2")


def test_the_other_answers(cells, tmp_path):
    found = {}
    for answer in ("label", "term"):
        sctab.export.write(cells, tmp_path / f"{answer}.h5ad", format="cellxgene", metadata=LAB, answer=answer)
        found[answer] = ad.read_h5ad(tmp_path / f"{answer}.h5ad").obs["cell_type_ontology_term_id"]
    assert not found["label"].equals(found["term"])
    with pytest.raises(KeyNotFoundError, match=r"obs\['sctab_vote'\]` not found. Let clusters vote first"):
        sctab.export.write(cells, tmp_path / "vote.h5ad", format="cellxgene", metadata=LAB, answer="vote")
    sctab.tl.vote(cells, groups="louvain")
    path = sctab.export.write(cells, tmp_path / "vote.h5ad", format="cap", metadata=CAP, answer="vote", set_name="clusters")
    assert set(ad.read_h5ad(path).obs["clusters"]) <= {*cells.obs["sctab_vote"].dropna().unique(), "unknown", "NA"}


def test_what_is_missing_is_in_one_error(cells, tmp_path):
    with pytest.raises(SettingError) as caught:
        sctab.export.write(cells, tmp_path / "a.h5ad", format="cellxgene", metadata={"title": "Mine", "tissue_type": "gut"})
    message = str(caught.value)
    assert "needs 9 fields that only the laboratory knows" in message
    assert "  donor_id: donor_1  # or {column: donor}, a column of obs" in message
    assert "`tissue_type`: `gut` is none of `tissue`" in message
    assert not list(tmp_path.iterdir())


def test_without_counts(tmp_path):
    import scanpy as sc

    adata = sc.datasets.pbmc68k_reduced()
    sctab.tl.annotate(adata, "pbmc")
    with pytest.raises(
        InputValueError, match=r"needs raw counts, and no matrix holds them \(`X`: .*; `raw.X`: log1p of normalised counts\)"
    ):
        sctab.export.write(adata, tmp_path / "a.h5ad", format="cap", metadata=CAP)
    with pytest.raises(InputValueError, match="`raw.X` holds log1p of normalised counts, and the format needs raw counts"):
        sctab.export.write(adata, tmp_path / "a.h5ad", format="cap", metadata=CAP, layer="raw")
    assert not list(tmp_path.iterdir())


def test_counts_in_a_layer_are_found(cells, tmp_path):
    cells.layers["of_the_machine"] = cells.X.copy()
    cells.X = normalise(cells.X, Normalization())
    path = sctab.export.write(cells, tmp_path / "a.h5ad", format="cap", metadata=CAP)
    np.testing.assert_array_equal(np.unique(ad.read_h5ad(path).raw.X.data % 1), [0])


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_files_and_objects_give_the_same(cells, tmp_path, suffix):
    (cells.write_h5ad if suffix == ".h5ad" else cells.write_zarr)(tmp_path / f"cells{suffix}")
    before = cells.copy()
    one = ad.read_h5ad(sctab.export.write(cells, tmp_path / "one.h5ad", format="cellxgene", metadata=LAB))
    other = ad.read_h5ad(sctab.export.write(tmp_path / f"cells{suffix}", tmp_path / "other.h5ad", format="cellxgene", metadata=LAB))
    pd.testing.assert_frame_equal(one.obs, other.obs)
    assert (one.raw.X != other.raw.X).nnz == 0
    assert sorted(one.obsm) == sorted(other.obsm)
    pd.testing.assert_frame_equal(cells.obs, before.obs)


def test_nothing_is_replaced_unless_wanted(cells, tmp_path):
    (tmp_path / "mine.h5ad").write_text("mine")
    with pytest.raises(OutputExistsError, match="already exists"):
        sctab.export.write(cells, tmp_path / "mine.h5ad", format="cap", metadata=CAP)
    assert (tmp_path / "mine.h5ad").read_text() == "mine"
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(sctab.OutputError):
        sctab.export.write(tmp_path / "cells.h5ad", tmp_path / "cells.h5ad", format="cap", metadata=CAP, overwrite=True)
    sctab.export.write(cells, tmp_path / "mine.h5ad", format="cap", metadata=CAP, overwrite=True)
    assert ad.read_h5ad(tmp_path / "mine.h5ad").n_obs == 120


def test_refusals(cells, tmp_path):
    for options, error, message in (
        ({"format": "seurat"}, SettingError, r"`format='seurat'` is not known. Choose one of `cap`, `cellxgene`, `table`"),
        ({"output": tmp_path / "a.csv"}, SettingError, "is written as `.h5ad`"),
        ({"format": "table"}, SettingError, "is not the name of a table"),
        ({"mappings": tmp_path / "a.txt"}, SettingError, "does not end with `.tsv`"),
        ({"key_added": "other"}, KeyNotFoundError, r"uns\['other'\]`, the record of the annotation, does not exist"),
        ({"answer": "guess"}, SettingError, "`answer='guess'` is not known"),
        ({"set_name": "a--b"}, SettingError, "cannot be the name of a set"),
        ({"set_name": "louvain"}, SettingError, "is in use: the data has the columns `louvain`"),
        ({"metadata": {**CAP, "title": "x" * 201}}, SettingError, "has 201 characters, and CAP takes 200"),
        ({"metadata": {**CAP, "tisue": "blood"}}, SettingError, "`tisue` is not known. Did you mean `tissue"),
        ({"metadata": tmp_path / "gone.yaml"}, DataFileError, "gone.yaml"),
    ):
        settings = {"format": "cap", "metadata": CAP, "output": tmp_path / "a.h5ad"} | options
        with pytest.raises(error, match=message):
            sctab.export.write(cells, **settings)
    with pytest.raises(SettingError, match="is for formats of portals"):
        sctab.export.write(cells, tmp_path / "a.csv", format="table", metadata=CAP)
    assert not list(tmp_path.iterdir())


def test_cells_that_a_portal_refuses(cells, tmp_path):
    empty = cells.copy()
    empty.X = sparse.csr_matrix(empty.X.multiply(np.arange(120)[:, None] > 1))
    with pytest.raises(InputValueError, match="2 of 120 cells have no count in the genes of the format"):
        sctab.export.write(empty, tmp_path / "a.h5ad", format="cellxgene", metadata=LAB)
    twice = cells.copy()
    twice.X = sparse.vstack([twice.X[:119], twice.X[0]], format="csr")
    with pytest.raises(InputValueError, match="1 of 120 cells have the same counts as another cell"):
        sctab.export.write(twice, tmp_path / "a.h5ad", format="cellxgene", metadata=LAB)
    assert not list(tmp_path.iterdir())
    sctab.export.write(twice, tmp_path / "a.h5ad", format="cap", metadata=CAP)
    names = cells.copy()
    names.obs_names = ["same"] * 2 + list(names.obs_names[2:])
    with pytest.raises(InputValueError, match=r"1 names of cells occur more than once: `same`"):
        sctab.export.write(names, tmp_path / "b.h5ad", format="cap", metadata=CAP)


def test_an_embedding_is_computed_where_there_is_none(cells, tmp_path):
    del cells.obsm["X_umap"], cells.obsm["X_sctab"]
    with pytest.warns(sctab.SctabWarning, match="no embedding in two dimensions: a UMAP of `expression` was computed"):
        path = sctab.export.write(cells, tmp_path / "a.h5ad", format="cap", metadata=CAP)
    assert ad.read_h5ad(path).obsm["X_umap"].shape == (120, 2)


def test_cells_without_any_type(cells, tmp_path):
    for name in ("label", "term"):
        cells.obs[f"sctab_{name}"] = pd.Categorical([None] * 120, categories=cells.obs[f"sctab_{name}"].cat.categories)
    cells.obs["sctab_is_unseen"] = False
    path = sctab.export.write(cells, tmp_path / "a.h5ad", format="cap", metadata=CAP)
    assert set(ad.read_h5ad(path).obs["sctab_cell_type"]) == {"NA"}
    path = sctab.export.write(cells, tmp_path / "b.h5ad", format="cellxgene", metadata=LAB)
    assert set(ad.read_h5ad(path).obs["cell_type_ontology_term_id"]) == {"unknown"}


def test_a_table_with_its_mappings(cells, tmp_path):
    path = sctab.export.write(
        cells, tmp_path / "cells.tsv.gz", format="table", mappings=tmp_path / "labels.sssom.tsv", answer="label"
    )
    table = pd.read_csv(path, sep="\t")
    assert list(table.columns[:4]) == ["cell", "label", "label_id", "label_term"]
    assert list(table["cell"]) == list(cells.obs_names)
    np.testing.assert_allclose(table["confidence"], cells.obs["sctab_confidence"], rtol=1e-5)
    assert gzip.decompress(path.read_bytes()).startswith(b"cell\tlabel")
    ids = sctab.ontology.read_label_map(tmp_path / "labels.sssom.tsv")
    assert {ids[name] for name in table["label"].dropna()} == {*table["label_id"].dropna()}
    (errors,) = errors_of("sssom", tmp_path / "labels.sssom.tsv")
    assert errors == []


def test_broken_mappings_are_noticed(cells, tmp_path):
    sctab.export.write(cells, tmp_path / "cells.csv", format="table", mappings=tmp_path / "labels.sssom.tsv")
    text = (tmp_path / "labels.sssom.tsv").read_text(encoding="utf-8")
    (tmp_path / "broken.sssom.tsv").write_text(text.replace("skos:exactMatch", "nope:match"), encoding="utf-8")
    (errors,) = errors_of("sssom", tmp_path / "broken.sssom.tsv")
    assert any("nope" in error for error in errors)
