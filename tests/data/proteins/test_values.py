"""Kinds of values of antibodies."""

import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse

from sctab.data import ProteinValues, inspect_proteins
from sctab.errors import InputValueError


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    level = rng.choice([3.0, 300.0], size=(200, 12))
    return rng.poisson(level * rng.lognormal(0, 0.4, size=(200, 1))).astype(np.float32)


def clr(counts):
    logs = np.log1p(counts)
    return logs - logs.mean(axis=1, keepdims=True)


def scaled(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


@pytest.mark.parametrize("matrix", [np.asarray, sparse.csr_matrix, sparse.csc_array], ids=["dense", "CSR", "CSC"])
def test_counts(counts, matrix):
    assert inspect_proteins(matrix(counts), "X") is ProteinValues.COUNTS
    assert inspect_proteins(matrix(counts.astype(np.int64)), "X") is ProteinValues.COUNTS
    assert inspect_proteins(matrix(counts + 0.5), "X") is ProteinValues.NORMALISED


def test_centred_log_ratios(counts):
    assert inspect_proteins(clr(counts), "X") is ProteinValues.CLR
    assert inspect_proteins(clr(counts)[:, :-1], "X") is ProteinValues.CLR  # an isotype control was removed afterwards
    assert inspect_proteins(clr(counts) / np.log(2), "X") is ProteinValues.CLR


def test_scaled_values(counts):
    values = scaled(np.log1p(counts))
    assert inspect_proteins(values, "X") is ProteinValues.SCALED
    assert inspect_proteins(values[:150], "X") is ProteinValues.SCALED  # some cells were removed afterwards
    assert inspect_proteins(np.c_[values, np.zeros(200)], "X") is ProteinValues.SCALED  # one did not vary


def test_other_values(counts):
    logs = np.log1p(counts)
    of_seurat = np.log1p(counts / np.exp(logs.sum(axis=1, keepdims=True) / counts.shape[1]))
    centred = logs - logs.mean(axis=0)
    for values in (of_seurat, np.arcsinh(counts / 5), centred * 3, logs * 2 - 1):
        assert inspect_proteins(values, "X") is ProteinValues.NORMALISED


def test_cells_that_were_not_measured_do_not_count(counts):
    counts[::3] = np.nan
    assert inspect_proteins(counts, "X") is ProteinValues.COUNTS
    assert inspect_proteins(sparse.csr_matrix(counts), "X") is ProteinValues.COUNTS
    assert inspect_proteins(clr(counts), "X") is ProteinValues.CLR


def test_invalid_values(counts):
    partly = counts.copy()
    partly[3, 2] = np.nan
    with pytest.raises(InputValueError, match="`X` holds NaN for some antibodies of 1 cell and values for others"):
        inspect_proteins(partly, "X")
    counts[3, 2] = np.inf
    with pytest.raises(InputValueError, match=r"`X` holds infinite values \(1 of them\)"):
        inspect_proteins(counts, "X")
    counts[3, 2] = 1e31
    with pytest.raises(InputValueError, match=r"`X` holds values up to 1e\+31"):
        inspect_proteins(counts, "X")


def test_nothing_to_look_at():
    with pytest.raises(InputValueError, match="0 cells and 2 antibodies"):
        inspect_proteins(np.empty((0, 2)), "X")
    with pytest.raises(InputValueError, match="3 cells and 0 antibodies"):
        inspect_proteins(np.empty((3, 0)), "X")
    with pytest.raises(InputValueError, match="NaN only: antibodies were not measured in any of 3 cells"):
        inspect_proteins(np.full((3, 2), np.nan), "X")


@pytest.mark.parametrize("missing", [False, True])
def test_matrices_on_disk(counts, missing, tmp_path):
    counts[::7] = np.nan if missing else 0
    dask = pytest.importorskip("dask.array")
    with h5py.File(tmp_path / "counts.h5", "w") as file:
        stored = file.create_dataset("X", data=counts)
        matrices = [stored, zarr.array(counts), dask.from_array(counts, chunks=(50, 12))]
        assert [inspect_proteins(matrix, "X") for matrix in matrices] == [ProteinValues.COUNTS] * 3
