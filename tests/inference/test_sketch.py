"""Cells of a reference that a model keeps."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.errors import ModelFormatError
from sctab.inference import ReferenceSketch, choose_sketch

N_GENES, N_LABELS = 9, 3


def make_sketch(scale=1.0, *, n_genes=N_GENES, seed=0):
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(1.5, size=(20, n_genes)).astype(np.float32) * np.float32(scale))
    return ReferenceSketch(counts, rng.integers(N_LABELS, size=20))


def read(arrays, *, n_genes=N_GENES):
    return ReferenceSketch.from_arrays(arrays, n_genes=n_genes, n_labels=N_LABELS)


@pytest.mark.parametrize(
    ("scale", "kind"), [(1, np.uint8), (300, np.uint16), (0.37, np.float32), (70_000, np.float32)], ids=["8", "16", "real", "large"]
)
def test_what_is_stored_is_what_was_kept(scale, kind):
    sketch = make_sketch(scale)
    arrays = sketch.to_arrays()
    found = read(arrays)
    assert arrays["sketch.values"].dtype == kind
    np.testing.assert_array_equal(found.counts.toarray(), sketch.counts.toarray())
    np.testing.assert_array_equal(found.codes, sketch.codes)


def test_more_genes_than_16_bits_count():
    sketch = make_sketch(n_genes=70_000)
    found = read(sketch.to_arrays(), n_genes=70_000)
    assert (found.counts != sketch.counts).nnz == 0


def test_a_model_without_a_sketch_has_none():
    assert read({"backoff.scores": np.zeros(3)}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"sketch.genes": None},
        {"sketch.labels": np.full(20, N_LABELS, dtype=np.int32)},
        {"sketch.labels": np.full(20, -1, dtype=np.int32)},
        {"sketch.labels": np.zeros((20, 1), dtype=np.int32)},
        {"sketch.labels": np.zeros(0, dtype=np.int32)},
        {"sketch.indptr": np.zeros(21, dtype=np.int64)},
        {"sketch.indptr": np.arange(21, dtype=np.int64)[::-1]},
        {"sketch.genes": np.full(3, 1, dtype=np.uint16)},
        {"sketch.values": np.array(["1"])},
        {"sketch.values": np.float32(1)},
        {"sketch.labels": np.int32(1)},
        {"sketch.indptr": np.int64(0)},
    ],
    ids=lambda change: next(f"{name} {'missing' if values is None else values.shape}" for name, values in change.items()),
)
def test_damaged_arrays_are_refused(change):
    arrays = {name: values for name, values in (make_sketch().to_arrays() | change).items() if values is not None}
    with pytest.raises(ModelFormatError, match=r"^The sketch of the reference .* is damaged: .* Copy the model again\.$"):
        read(arrays)


def test_indices_below_the_first_gene_are_refused():
    arrays = make_sketch().to_arrays()
    arrays["sketch.genes"] = arrays["sketch.genes"].astype(np.int32)
    arrays["sketch.genes"][0] = -(2**31)
    with pytest.raises(ModelFormatError, match="is damaged"):
        read(arrays)


def test_rows_that_run_backwards_are_refused_without_a_sign():
    arrays = make_sketch().to_arrays()
    arrays["sketch.indptr"] = arrays["sketch.indptr"].astype(np.uint64)
    arrays["sketch.indptr"][1] = 10**6
    with pytest.raises(ModelFormatError, match="is damaged"):
        read(arrays)


def test_numbers_too_large_for_single_precision_are_refused():
    arrays = make_sketch(0.5).to_arrays()
    arrays["sketch.values"] = np.full(arrays["sketch.values"].shape, 1e300)
    with pytest.raises(ModelFormatError, match="is damaged"):
        read(arrays)


@pytest.mark.parametrize("wrong", [-1.0, np.inf])
def test_counts_that_are_none_are_refused(wrong):
    arrays = make_sketch(0.5).to_arrays()
    arrays["sketch.values"] = np.full_like(arrays["sketch.values"], wrong)
    with pytest.raises(ModelFormatError, match="is damaged"):
        read(arrays)


def test_genes_of_another_model_are_refused():
    with pytest.raises(ModelFormatError, match="does not fit the genes"):
        read(make_sketch().to_arrays(), n_genes=2)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 150), st.integers(0, 5))
def test_every_type_is_kept_and_frequent_types_are_most(sizes, n_cells, n_unlabelled):
    codes = np.concatenate([np.full(n_unlabelled, -1), np.repeat(np.arange(len(sizes)), sizes)])
    chosen = choose_sketch(codes, n_cells, rng=np.random.default_rng(0))
    n_labelled, n_types = sum(sizes), sum(size > 0 for size in sizes)
    assert len(chosen) == min(n_labelled, max(n_cells, n_types))
    assert (np.diff(chosen) > 0).all()
    kept = np.bincount(codes[chosen], minlength=len(sizes)) if len(chosen) else np.zeros(len(sizes))
    assert (codes[chosen] >= 0).all()
    assert ((kept > 0) == (np.array(sizes) > 0)).all()


def test_rare_types_are_kept_and_frequent_ones_stay_frequent():
    codes = np.repeat([0, 1, 2], [9_000, 950, 50])
    kept = np.bincount(codes[choose_sketch(codes, 1_000, rng=np.random.default_rng(0))])
    assert kept[2] == 50
    assert kept[0] > 2 * kept[1]
