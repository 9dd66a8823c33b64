"""CSR matrices that are written block by block."""

import h5py
import numpy as np
import pytest
import zarr
from anndata.io import read_elem
from scipy import sparse

from sctab.io import CsrWriter, _csr_writer as module


@pytest.mark.parametrize("chunk", [7, 1_000_000])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_anndata_reads_what_was_written(tmp_path, monkeypatch, chunk, compression):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    matrix = sparse.random(50, 20, 0.3, format="csr", rng=np.random.default_rng(0), dtype=np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        writer = CsrWriter(file, "X", matrix.shape, compression=compression)
        for start in range(0, 50, 8):
            writer.append(matrix[start : start + 8])
        writer.finish()
        found = read_elem(file["X"])
        assert file["X/data"].compression == compression
    assert (found != matrix).nnz == 0
    assert found.dtype == np.float32


def test_a_matrix_without_rows(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    CsrWriter(group, "X", (0, 3)).finish()
    assert read_elem(group["X"]).shape == (0, 3)
