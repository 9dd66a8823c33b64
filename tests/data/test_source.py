"""The matrix that is chosen, and the one that is learned from."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from tests.reference import make_reference

from sctab import InputValueError, KeyNotFoundError
from sctab.data import Content
from sctab.data._source import choose_source, reference_source
from sctab.model import DeepEnsemble, LinearClassifier


@pytest.fixture
def counts():
    return make_reference(30)


def log1p(adata):
    adata = adata.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def scaled(adata):
    adata = log1p(adata)
    adata.X = adata.X.toarray()
    sc.pp.scale(adata)
    return adata


def test_counts_in_x_are_used_without_a_word(counts):
    counts.layers["more"] = counts.X.copy()
    source, notes = choose_source(counts)
    assert (source.name, source.content.content, notes) == ("X", Content.COUNTS, [])


def test_counts_in_a_layer_go_before_log1p_in_x(counts):
    adata = log1p(counts)
    adata.layers["raw_counts"] = counts.X
    source, notes = choose_source(adata)
    assert source.name == "layers['raw_counts']"
    assert notes == ["`layers['raw_counts']` was used, which holds counts; `X` holds log1p of normalised counts."]


def test_counts_that_are_all_zero_are_no_other_counts(counts):
    adata = log1p(counts)
    adata.layers["raw_counts"] = sparse.csr_matrix(adata.shape)
    source, notes = choose_source(adata)
    assert (source.name, notes) == ("X", [])


def test_rounded_values_are_not_called_counts(counts):
    adata = log1p(counts)
    adata.X = sparse.csr_matrix(np.rint(np.expm1(adata.X.toarray())))
    adata.layers["counts"] = counts.X
    assert choose_source(adata)[1] == [
        "`layers['counts']` was used, which holds counts; `X` holds integers of the same sum in every cell."
    ]


def test_antibodies_beside_genes_in_raw(counts):
    """What is said of `X` is a sentence."""
    adata = AnnData(counts.X[:, :3], obs=counts.obs, var=pd.DataFrame(index=["CD3_ADT", "CD4_ADT", "CD8_ADT"]))
    adata.raw = counts
    source, (note,) = choose_source(adata)
    assert source.name == "raw.X"
    assert "; `X` cannot be used: No feature is gene expression: the index of `var` holds `CD3_ADT`, `CD4_ADT`" in note


def test_raw_goes_before_layers(counts):
    adata = scaled(counts)
    adata.raw = counts
    adata.layers["raw_counts"] = counts.X
    source, notes = choose_source(adata)
    assert source.name == "raw.X"
    assert "`X` cannot be used, since it holds negative values" in notes[0]


def test_raw_with_more_genes_brings_its_own_var(counts):
    adata = scaled(counts)[:, :10].copy()
    adata.raw = log1p(counts)
    source, _ = choose_source(adata)
    assert source.content.content is Content.LOG1P
    assert len(source.var) == source.matrix.shape[1] == counts.n_vars


def test_log1p_alone_is_used(counts):
    source, notes = choose_source(log1p(counts))
    assert (source.name, source.content.content, notes) == ("X", Content.LOG1P, [])


def test_scaled_alone_is_refused_and_raw_being_none_does_not_matter(counts):
    adata = scaled(counts)
    assert adata.raw is None
    with pytest.raises(InputValueError, match="`X` holds negative values.*Provide the matrix from before that step"):
        choose_source(adata)


def test_layer_decides(counts):
    adata = counts.copy()
    adata.layers["log"] = log1p(counts).X
    source, _ = choose_source(adata, layer="log")
    assert (source.name, source.content.content) == ("layers['log']", Content.LOG1P)
    assert choose_source(adata, layer="X")[0].name == "X"
    adata.raw = counts
    assert choose_source(adata, layer="raw")[0].name == "raw.X"


def test_a_layer_that_cannot_be_used_is_refused_although_x_could_be(counts):
    counts.layers["bad"] = counts.X.toarray() - 1
    with pytest.raises(InputValueError, match=r"`layers\['bad'\]` holds negative values"):
        choose_source(counts, layer="bad")


def test_unknown_layer_lists_what_there_is(counts):
    counts.layers["spliced"] = counts.X
    with pytest.raises(KeyNotFoundError, match=r"`layer='counts'` is not in the data. Available: `X`, `layers\['spliced'\]`\."):
        choose_source(counts, layer="counts")


def test_raw_that_is_not_there(counts):
    with pytest.raises(KeyNotFoundError, match="`layer='raw'` is not in the data. Available: `X`."):
        choose_source(counts, layer="raw")


def test_nothing_but_obs():
    with pytest.raises(InputValueError, match="0 genes"):
        choose_source(AnnData(obs={"a": [1, 2]}))


def test_no_cells(counts):
    with pytest.raises(InputValueError, match="The data has 0 cells and 60 genes"):
        choose_source(counts[:0].copy())


def test_antibodies_do_not_make_counts_look_normalised(counts):
    """Antibody columns hold values that are not counts; the genes are still counts."""
    counts.var["feature_types"] = ["Gene Expression"] * 50 + ["Antibody Capture"] * 10
    dense = counts.X.toarray()
    dense[:, 50:] = np.random.default_rng(0).normal(size=(30, 10))
    counts.X = dense
    source, notes = choose_source(counts)
    assert (source.content.content, notes) == (Content.COUNTS, [])


def test_a_layer_that_is_called_raw_or_x_goes_before_them(counts):
    counts.raw = counts
    counts.layers["raw"], counts.layers["X"] = 2 * counts.X, 3 * counts.X
    assert choose_source(counts, layer="raw")[0].name == "layers['raw']"
    assert choose_source(counts, layer="X")[0].name == "layers['X']"
    assert choose_source(counts, layer="raw.X")[0].name == "raw.X"
    assert reference_source(counts, None)[0].name == "X"


class TestLearningFromRaw:
    """`X` scaled and cut, log1p of all genes in `raw`, as the tutorial of scanpy leaves it."""

    @pytest.fixture
    def reference(self):
        adata = log1p(make_reference(90))
        adata.raw = adata
        adata = adata[:, 10:30].copy()
        adata.X = adata.X.toarray()
        sc.pp.scale(adata)
        return adata

    def test_the_refusal_names_what_then_works(self, reference):
        with pytest.raises(
            InputValueError, match=r"`X` holds negative values.*`raw\.X` holds log1p.*it is used with `layer='raw'`"
        ):
            LinearClassifier.setup_anndata(reference, "cell_type")
        LinearClassifier.setup_anndata(reference, "cell_type", layer="raw")
        model = LinearClassifier(reference)
        model.train(calibrate=False, max_epochs=15, enable_progress_bar=False)
        assert len(model.spec.features) == 60
        assert (model.predict() == reference.obs["cell_type"]).mean() > 0.9
        assert (model.predict(make_reference(90, seed=3)) == make_reference(90, seed=3).obs["cell_type"]).mean() > 0.9

    def test_columns_are_those_of_raw(self, reference):
        reference.var["only_here"] = "x"
        with pytest.raises(KeyNotFoundError, match=r"`gene_symbol_key='only_here'` is not in `adata\.raw\.var`"):
            LinearClassifier.setup_anndata(reference, "cell_type", layer="raw", gene_symbol_key="only_here")

    def test_with_nothing_but_raw(self):
        cells = make_reference(60)
        adata = AnnData(obs=cells.obs, var=cells.var)
        adata.raw = cells
        with pytest.raises(KeyNotFoundError, match=r"`X`, the default without `layer`, .* Available: `raw\.X`"):
            LinearClassifier.setup_anndata(adata, "cell_type")
        LinearClassifier.setup_anndata(adata, "cell_type", layer="raw")
        model = LinearClassifier(adata)
        model.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        assert len(model.spec.features) == 60

    def test_loaded_with_its_reference(self, reference, tmp_path):
        LinearClassifier.setup_anndata(reference, "cell_type", layer="raw")
        model = LinearClassifier(reference)
        model.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        model.save(tmp_path / "m")
        again = LinearClassifier.load(tmp_path / "m", reference)
        again.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        assert again.spec.training["matrix"] == {"name": "raw.X", "content": "log1p of normalised counts", "is_sure": True}

    def test_an_ensemble_and_its_members(self, reference):
        ensemble = DeepEnsemble(LinearClassifier, n_members=2)
        ensemble.setup_anndata(reference, "cell_type", layer="raw")
        ensemble.train(calibrate=False, max_epochs=2, enable_progress_bar=False)
        assert len(ensemble.spec.features) == 60
        assert ensemble.predictor.open_query(reference).source.name == "raw.X"

    def test_going_on_with_a_query_remembers_its_matrix(self, reference):
        LinearClassifier.setup_anndata(reference, "cell_type", layer="raw")
        model = LinearClassifier(reference)
        model.train(calibrate=False, max_epochs=2, enable_progress_bar=False)
        further = LinearClassifier.load_query_data(reference, model)
        further.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        assert further.spec.training["matrix"]["name"] == "raw.X"
        assert further.predictor.open_query(reference).source.name == "raw.X"
