"""Which matrix of an AnnData is used, and what is said about it."""

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from tests.reference import make_reference

from sctab import InputValueError, KeyNotFoundError
from sctab.corpus._source import choose_source
from sctab.counts import Content


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
    with pytest.raises(InputValueError, match="`X` holds negative values.*Give the matrix from before that step"):
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
    with pytest.raises(KeyNotFoundError, match=r"`layer='counts'` is not in the data. It has: `X`, `layers\['spliced'\]`\."):
        choose_source(counts, layer="counts")


def test_raw_that_is_not_there(counts):
    with pytest.raises(KeyNotFoundError, match="`layer='raw'` is not in the data. It has: `X`."):
        choose_source(counts, layer="raw")


def test_nothing_but_obs():
    with pytest.raises(InputValueError, match="0 genes"):
        choose_source(AnnData(obs={"a": [1, 2]}))


def test_no_cells(counts):
    with pytest.raises(InputValueError, match="The data has 0 cells and 60 genes"):
        choose_source(counts[:0].copy())


def test_antibodies_do_not_make_counts_look_normalised(counts):
    """Antibody columns hold values that are no counts; the genes are still counts."""
    counts.var["feature_types"] = ["Gene Expression"] * 50 + ["Antibody Capture"] * 10
    dense = counts.X.toarray()
    dense[:, 50:] = np.random.default_rng(0).normal(size=(30, 10))
    counts.X = dense
    source, notes = choose_source(counts)
    assert (source.content.content, notes) == (Content.COUNTS, [])
