"""Check of a query: what is found, whatever the data is stored in, and that nothing is written."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.types_of_cells import N_GENES, cells_of

import sctab
from sctab import GeneOverlapError, InputTypeError, SettingError
from sctab.model import LinearClassifier
from sctab.pp._check import check_file

QUICK = {"max_epochs": 20, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def reference():
    return cells_of(np.random.default_rng(0).integers(3, size=450), 1)


@pytest.fixture(scope="module")
def model(reference):
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(**QUICK)
    return model


@pytest.fixture
def query():
    """Further cells of the same donors."""
    return cells_of(np.arange(300) % 3, 2)


@pytest.fixture
def half_learned(reference, query):
    return ad.concat([reference[:200], query[:200]], index_unique="-")


def same(found, expected):
    assert found.to_json() == expected.to_json()
    np.testing.assert_array_equal(found.is_learned, expected.is_learned)


def text_of(found):
    return " ".join(str(found).split())


def test_cells_like_those_of_the_reference(model, query):
    found = sctab.pp.check(query, model, accepted_error=0.3)
    assert found.n_obs == 300
    assert found.matrix == {"name": "X", "content": "counts"}
    assert found.coverage == 1
    assert found.n_learned == 0
    assert found.fraction_unseen < 0.05
    assert not found.is_refused
    assert 0.35 < found.shift < 0.65
    assert found.promise["holds"]
    assert found.promise["unit"] == "donor"
    assert found.cells["ratio"].between(0.95, 1.05).all()
    assert found.types["coverage"].tolist() == pytest.approx([1, 1, 1])
    assert found.types["n_cells"].sum() == 300
    assert not found.types["confused_with"].any()
    assert not found.warnings
    assert not found.not_checked
    assert found.verdict == "Ready to annotate."


def test_nothing_is_written(model, query):
    before = query.copy()
    sctab.pp.check(query, model)
    assert list(query.obs) == list(before.obs)
    assert not query.uns
    assert not query.obsm
    np.testing.assert_array_equal(query.X.toarray(), before.X.toarray())


def test_cells_of_the_training_data(model, half_learned):
    found = sctab.pp.check(half_learned, model)
    np.testing.assert_array_equal(found.is_learned, np.arange(400) < 200)
    assert found.n_learned == 200
    assert found.leakage["expected_recall"] == 1
    assert found.leakage["false_positive_rate"] < 0.01
    assert any(note.startswith("200 of 400 cells were in the training data of the model") for note in found.warnings)


FORMS = {
    "dense": lambda adata: adata.X.toarray(),
    "csc": lambda adata: adata.X.tocsc(),
    "double": lambda adata: adata.X.astype(np.float64),
    "integers": lambda adata: adata.X.astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_storage_does_not_matter(model, half_learned, form):
    other = half_learned.copy()
    other.X = FORMS[form](half_learned)
    same(sctab.pp.check(other, model), sctab.pp.check(half_learned, model))


def test_genes_in_another_order_among_others(model, half_learned):
    wider = ad.AnnData(
        sparse.hstack([half_learned.X, sparse.csr_matrix(np.ones((400, 20)))], format="csr"), obs=half_learned.obs.copy()
    )
    wider.var_names = [*half_learned.var_names, *(f"ENSG9{number:010d}" for number in range(20))]
    wider = wider[:, np.random.default_rng(0).permutation(wider.n_vars)].copy()
    found = sctab.pp.check(wider, model)
    np.testing.assert_array_equal(found.is_learned, np.arange(400) < 200)
    assert found.n_vars == N_GENES + 20


def test_logarithms_of_the_same_counts(model, half_learned):
    scaled = half_learned.copy()
    scaled.X = scaled.X.multiply(1e4 / scaled.X.sum(axis=1)).tocsr().log1p()
    found = sctab.pp.check(scaled, model)
    np.testing.assert_array_equal(found.is_learned, np.arange(400) < 200)
    assert found.matrix["content"] == "log1p of normalised counts"
    assert np.isnan(found.cells.loc["counts", "median"])
    assert found.cells.loc["genes", "ratio"] == pytest.approx(1, abs=0.05)


def test_a_panel_without_genes_of_a_type(model, query):
    """The genes that only T cells show more of are missing."""
    cut = query[:, np.r_[0:15, 30:N_GENES]].copy()
    found = sctab.pp.check(cut, model)
    coverage = found.types["coverage"]
    assert coverage["T cell"] < 0.5 < min(coverage["B cell"], coverage["monocyte"])
    assert found.types.loc["T cell", "n_found"] < found.types.loc["T cell", "n_informative"]
    assert set(found.types.loc["T cell", "missing"].split(", ")) <= set(found.genes.index[~found.genes["found"]])
    assert found.leakage["expected_recall"] < 1
    assert any(note.startswith("Of `T cell`, the data has less than half of the genes") for note in found.warnings)


def test_types_that_a_panel_cannot_tell_apart(model, query):
    """Of the types' own genes, only those of B cells are there."""
    cut = query[:, np.r_[0:15, 60:N_GENES]].copy()
    found = sctab.pp.check(cut, model)
    assert found.types.loc["monocyte", "confused_with"] == "T cell"
    assert found.types.loc["T cell", "confused_with"] == "monocyte"
    assert not found.types.loc["B cell", "confused_with"]
    (note,) = [note for note in found.warnings if note.startswith("Single cells of")]
    assert "`T cell`, `monocyte` cannot be distinguished with the genes of this data" in note


def test_a_type_that_was_not_learned(model):
    found = sctab.pp.check(cells_of(np.full(200, 3), 4), model)
    assert found.is_refused
    assert found.fraction_unseen > 0.9
    assert found.shift > 0.9
    assert not found.promise["holds"]
    assert "cannot be promised for a new donor, on average: no label is right" in text_of(found)
    assert found.verdict == "Use another model: no label fits 100% of the cells."
    (note,) = [note for note in found.warnings if "fit no label" in note]
    assert "`sctab.tl.annotate` with `unseen_fdr=0.1` refuses them, unless `force=True` is given." in note


def test_annotate_refuses_the_same(model):
    with pytest.raises(sctab.InputValueError, match="fit none of the 3 labels"):
        sctab.tl.annotate(cells_of(np.full(200, 3), 4), model, unseen_fdr=0.1)


def test_shallow_and_empty_cells(model, query):
    thin = sparse.csr_matrix(np.random.default_rng(0).binomial(query.X.toarray().astype(int), 0.06).astype(np.float32))
    query.X = sparse.vstack([thin[:290], sparse.csr_matrix((10, N_GENES))], format="csr")
    found = sctab.pp.check(query, model)
    assert found.n_empty >= 10
    assert found.n_unmeasured == found.n_empty
    assert found.cells.loc["counts", "ratio"] < 0.1
    assert any(note.startswith(f"{found.n_empty} cells have no count") for note in found.warnings)
    assert any(note.startswith("The median cell shows 0.") for note in found.warnings)


def test_antibodies(model, query):
    proteins = ad.AnnData(np.ones((300, 4), dtype=np.float32), obs=query.obs.copy())
    proteins.var_names = ["CD3_TotalSeqB", "CD19_TotalSeqB", "chr1:100-2000", "CD4"]
    both = ad.concat([query, proteins], axis=1, merge="first")
    both.var["feature_types"] = ["Gene Expression"] * N_GENES + ["Antibody Capture"] * 2 + ["Peaks", "Antibody Capture"]
    found = sctab.pp.check(both, model)
    assert found.n_antibodies == 3
    assert found.n_ignored == 4
    assert "antibodies 3, and 1 other features that are not genes" in text_of(found)


def test_confidence_unlike_that_of_held_out_cells(model, query):
    """All cells are mixtures of two types."""
    query.X = sparse.csr_matrix(np.round((query.X.toarray() + query.X[np.roll(np.arange(300), 1)].toarray()) / 2))
    found = sctab.pp.check(query, model, accepted_error=0.3)
    assert not found.promise["holds"]
    assert found.promise["distance"] > found.promise["limit"]
    assert any(note.startswith("An error of 0.3 cannot be promised") for note in found.warnings)
    with pytest.warns(sctab.SctabWarning, match="The promise is withdrawn"):
        sctab.tl.annotate(query, model, accepted_error=0.3)


def test_a_model_that_keeps_nothing(reference, query):
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(**QUICK, calibrate=False)
    found = sctab.pp.check(query, model)
    assert found.is_learned is found.n_learned is found.shift is found.promise is None
    assert found.types["coverage"].isna().all()
    assert found.cells["reference"].isna().all()
    assert len(found.not_checked) == 4
    for start in ("Informative genes of each type", "Depth beside", "Cells of the training data", "Whether an error"):
        assert any(note.startswith(start) for note in found.not_checked)
    assert "Not checked" in str(found)


def test_a_model_without_fingerprints(reference, query):
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(**QUICK, fingerprints=False)
    found = sctab.pp.check(query, model)
    assert found.n_learned is None
    assert [note.split(":")[0] for note in found.not_checked] == ["Cells of the training data in the query"]
    assert not found.cells.isna().any(axis=None)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_files_are_checked_as_objects_are(model, half_learned, tmp_path, suffix):
    path = tmp_path / f"query.{suffix}"
    half_learned.write_h5ad(path) if suffix == "h5ad" else half_learned.write_zarr(path)
    same(check_file(path, model), sctab.pp.check(half_learned, model))


def test_backed_and_layers(model, half_learned, tmp_path):
    half_learned.layers["counts"] = half_learned.X.copy()
    half_learned.X = half_learned.X * 0
    half_learned.write_h5ad(tmp_path / "query.h5ad")
    backed = ad.read_h5ad(tmp_path / "query.h5ad", backed="r")
    found = sctab.pp.check(backed, model, layer="counts")
    backed.file.close()
    assert found.matrix["name"] == "layers['counts']"
    assert found.n_learned == 200


def test_without_any_cell_that_has_counts_in_the_genes_of_the_model(model):
    query = cells_of(np.zeros(30, dtype=int), 0)
    query.X = sparse.csr_matrix((30, N_GENES), dtype=np.float32)
    found = sctab.pp.check(query, model)
    assert found.n_empty == 30
    assert found.fraction_unseen is found.shift is None
    assert not found.is_refused
    str(found)


class TestRefusals:
    def test_genes_of_another_name(self, model, query):
        query.var_names = [f"gene{number}" for number in range(N_GENES)]
        with pytest.raises(GeneOverlapError, match="None of the model's 120 genes is in the data"):
            sctab.pp.check(query, model)

    def test_a_path(self, model):
        with pytest.raises(InputTypeError, match="An AnnData is needed"):
            sctab.pp.check("query.h5ad", model)

    @pytest.mark.parametrize("name", ["accepted_error", "unseen_fdr"])
    @pytest.mark.parametrize("value", [0, 1.5])
    def test_fractions(self, model, query, name, value):
        with pytest.raises(SettingError, match=rf"`{name}={value}` must be between 0 and 1, such as 0\.1"):
            sctab.pp.check(query, model, **{name: value})


def test_tables_of_the_packaged_model():
    import scanpy as sc

    with warnings.catch_warnings(action="ignore"):
        found = sctab.pp.check(sc.datasets.pbmc68k_reduced(), "pbmc")
    assert found.genes["found"].sum() == 410
    assert isinstance(found.types, pd.DataFrame)
    assert found.types["coverage"].max() < 0.9
    assert found.matrix["name"] == "raw.X"


def test_cells_without_a_count(model, query):
    """Nothing can be annotated, and nothing is promised."""
    empty = query.copy()
    empty.X = empty.X * 0
    found = sctab.pp.check(empty, model)
    assert (found.n_empty, found.promise, found.fraction_unseen, found.is_refused) == (empty.n_obs, None, None, False)
    assert any(note.startswith(f"{empty.n_obs} cells have no count and get no label.") for note in found.warnings)


@pytest.mark.parametrize("name", ["accepted_error", "unseen_fdr", "min_gene_coverage"])
@pytest.mark.parametrize("value", ["0.1", [0.1]])
def test_rates_that_are_not_numbers(model, query, name, value):
    with pytest.raises(sctab.SettingError, match=f"`{name}=.*between 0 and 1"):
        sctab.pp.check(query, model, **{name: value})


def test_the_accepted_error_is_one_that_can_be_promised(model, query):
    n_donors = model.spec.calibration.n_units
    found = sctab.pp.check(query, model)
    assert found.promise["accepted_error"] == max(0.1, np.ceil(100 / (n_donors + 1)) / 100)
    assert found.promise["unit"] == "donor"
    assert not found.promise["note"]
    asked = sctab.pp.check(query, model, accepted_error=0.05)
    assert (asked.promise["accepted_error"], asked.promise["unit"]) == (0.05, "cell")
