"""Fingerprints of training cells: what is always recognised, what never depends on the data's form, and rates of errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from scipy.stats import bernoulli

from sctab import ModelFormatError
from sctab.inference._fingerprints import Fingerprints

N_GENES = 300


def draw(n_obs, seed, *, n_genes=N_GENES, rate=0.15):
    """Counts of cells that show about 14 % of the genes."""
    return sparse.csr_matrix(np.random.default_rng(seed).poisson(rate, size=(n_obs, n_genes)).astype(np.float32))


def learn(counts):
    detection = np.asarray((counts > 0).mean(axis=0)).ravel()
    return Fingerprints.empty(counts.shape[0], detection).with_cells(counts)


def every(n_genes=N_GENES):
    return np.ones(n_genes, dtype=bool)


def without(n_missing, seed=0):
    found = every()
    found[np.random.default_rng(seed).permutation(N_GENES)[:n_missing]] = False
    return found


def cut_to(counts, found):
    return sparse.csr_matrix(counts.multiply(found[None, :]))


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0.05, 3))
def test_a_learned_cell_is_always_recognised(n_obs, seed, rate):
    """There are no false negatives among cells with five detected genes."""
    counts = draw(n_obs, seed, rate=rate)
    recognised = learn(counts).recognise(counts)
    np.testing.assert_array_equal(recognised, _n_shown(counts) >= 5)


def _n_shown(counts):
    return np.asarray((counts > 0).sum(axis=1)).ravel()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["log1p", "scaled", "double", "unsorted", "zeros"]))
def test_neither_scale_nor_storage_counts(seed, form):
    counts = draw(20, seed)
    learned, other = learn(counts), counts.copy()
    match form:
        case "log1p":
            other.data = np.log1p(other.data / 3.7)
        case "scaled":
            other = sparse.csr_matrix(other.multiply(np.random.default_rng(seed).gamma(2, size=(20, 1))), dtype=np.float32)
        case "double":
            other = other.astype(np.float64)
        case "unsorted":
            for start, stop in zip(other.indptr[:-1], other.indptr[1:], strict=True):
                other.indices[start:stop] = other.indices[start:stop][::-1].copy()
                other.data[start:stop] = other.data[start:stop][::-1].copy()
            other.has_sorted_indices = False
        case "zeros":
            dense = other.toarray()
            other = sparse.csr_matrix(
                (dense.ravel(), np.tile(np.arange(N_GENES), 20), np.arange(0, dense.size + 1, N_GENES)), shape=dense.shape
            )
    np.testing.assert_array_equal(learned.recognise(other), learned.recognise(counts))


@given(st.integers(0, 2**32 - 1), st.integers(1, 49))
def test_the_order_in_which_cells_are_added_does_not_count(seed, cut):
    counts = draw(50, seed)
    parts = Fingerprints.empty(50, np.asarray((counts > 0).mean(axis=0)).ravel())
    for block in (counts[cut:], counts[:cut]):
        parts = parts.with_cells(block)
    np.testing.assert_array_equal(parts.bits, learn(counts).bits)
    assert parts.n_cells == 50


def test_further_columns_are_left_out():
    counts = draw(30, 0)
    wider = sparse.hstack([counts, sparse.csr_matrix(np.ones((30, 4)))], format="csr")
    assert learn(counts).recognise(wider).all()


def test_one_gene_more_is_the_same_cell_to_the_parts():
    """As where the counts of two features are summed; the fingerprint of all genes alone would not recognise it."""
    counts = draw(500, 0).tolil()
    learned = learn(counts.tocsr())
    for cell in range(500):
        counts[cell, int(np.flatnonzero(counts[cell].toarray().ravel() == 0)[0])] = 1
    assert learned.recognise(counts.tocsr()).mean() > 0.95
    assert replace(learned, parts=learned.parts[:1], bits=learned.bits[:1]).recognise(counts.tocsr()).mean() < 0.02


@pytest.mark.parametrize("n_missing", [0, 30])
def test_rate_of_false_positives(n_missing):
    found = without(n_missing)
    learned = learn(draw(20_000, 0))
    recognised = learned.recognise(cut_to(draw(20_000, 1), found)).mean()
    expected = learned.false_positive_rate()
    assert recognised <= 0.01
    assert abs(recognised - expected) < 4 * np.sqrt(expected / 20_000)


@pytest.mark.parametrize("n_missing", [3, 15, 60, 200])
def test_expected_recall_is_what_is_found(n_missing):
    counts, found = draw(4_000, 0), without(n_missing)
    learned = learn(counts)
    recognised = learned.recognise(cut_to(counts, found)).mean()
    expected = learned.expected_recall(found, np.asarray((counts > 0).mean(axis=0)).ravel())
    assert abs(recognised - expected) < 0.05


def test_parts_are_apart_and_have_enough_entropy():
    detection = np.random.default_rng(0).beta(0.5, 2, size=2_000)
    parts = Fingerprints.empty(10, detection).parts
    assert parts.sum(axis=0).max() == 2
    for part in parts[1:]:
        assert bernoulli(detection[part]).entropy().sum() / np.log(2) == pytest.approx(64, abs=1)
        assert detection[part].max() <= 0.25


def test_parts_of_few_genes_are_left_out():
    """Genes that nearly all cells show do not distinguish them."""
    assert not Fingerprints.empty(10, np.full(500, 0.999)).parts[1:].any()
    assert not Fingerprints.empty(10, np.full(60, 0.5)).parts[1:].any()


def test_missing_genes_that_no_cell_shows_do_not_matter():
    found = without(100)
    counts = cut_to(draw(1_000, 0), found)
    assert learn(counts).recognise(counts).all()


def test_size():
    learned = learn(draw(4_000, 0))
    assert learned.n_bytes / 4_000 == pytest.approx(3 * 13 / 8, rel=0.01)


def test_cells_that_show_few_genes_are_not_recognised():
    counts = sparse.csr_matrix(np.eye(4, N_GENES) + np.eye(4, N_GENES, 4))
    assert not learn(counts).recognise(counts).any()


@pytest.mark.parametrize("n_obs", [0, 1])
def test_few_cells(n_obs):
    counts = draw(n_obs, 0)
    learned = Fingerprints.empty(n_obs, np.zeros(N_GENES)).with_cells(counts)
    assert learned.recognise(counts).all()


def test_arrays_and_back():
    counts = draw(100, 0, n_genes=301)
    before = learn(counts)
    after = Fingerprints.from_arrays({"types.genes": np.zeros(3), **before.to_arrays()}, n_genes=301)
    for name in ("parts", "bits"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.n_cells == 100
    assert Fingerprints.from_arrays({"types.genes": np.zeros(3)}, n_genes=301) is None


@pytest.mark.parametrize("name", ["parts", "bits", "n_cells"])
def test_damaged_arrays_are_refused(name):
    arrays = learn(draw(20, 0)).to_arrays()
    for changed in (
        {**arrays, f"fingerprints.{name}": np.zeros((7, 1, 1))},
        {k: v for k, v in arrays.items() if not k.endswith(name)},
    ):
        with pytest.raises(
            ModelFormatError, match="fingerprints of training cells that are stored with the model do not fit its genes"
        ):
            Fingerprints.from_arrays(changed, n_genes=N_GENES)


@pytest.mark.parametrize("n_cells", [np.array([-1]), np.array([np.inf]), np.array([b"x"]), np.array([2.0])])
def test_a_number_of_cells_that_is_none_is_refused(n_cells):
    with pytest.raises(ModelFormatError, match="do not fit its genes"):
        Fingerprints.from_arrays({**learn(draw(20, 0)).to_arrays(), "fingerprints.n_cells": n_cells}, n_genes=N_GENES)


def test_parts_that_are_too_small_recognise_no_cell():
    """With few genes there is one fingerprint, and a missing gene is a missing cell."""
    detection = np.full(8, 0.5)
    fingerprints = Fingerprints.empty(10, detection)
    found = np.arange(8) > 0
    assert not fingerprints.parts[1:].any()
    assert fingerprints.expected_recall(found, detection) == 0.5
