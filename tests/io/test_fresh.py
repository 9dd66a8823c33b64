"""AnnData that are written from other formats, as anndata reads them."""

from contextlib import closing

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr
from tests.formats import write_loom, write_market, write_ten_x

from sctab.io import DataFile, copy_data, require_readable
from sctab.io._fresh import write_fresh

WRITERS = {
    "10x": lambda query, folder: write_ten_x(query, folder / "a.h5"),
    "loom": lambda query, folder: write_loom(query, folder / "a.loom", layers=["doubled"], columns=["cell_type"]),
    "market": lambda query, folder: write_market(query, folder / "m"),
}


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("kind", WRITERS)
def test_copies(query, tmp_path, kind, suffix, monkeypatch):
    monkeypatch.setattr("sctab.io._csr_writer._CHUNK", 100)
    target = tmp_path / f"copy{suffix}"
    with closing(DataFile(WRITERS[kind](query, tmp_path))) as file:
        copy_data(file, target)
    require_readable(target, "the copy")
    got = (ad.read_h5ad if suffix == ".h5ad" else ad.read_zarr)(target)
    np.testing.assert_array_equal(got.X.toarray(), query.X.toarray())
    assert (got.X.format, got.X.dtype) == ("csr", np.float32)
    assert list(got.obs_names) == list(query.obs_names)
    assert list(got.var_names) == list(query.var_names)
    if kind == "loom":
        np.testing.assert_array_equal(got.layers["doubled"].toarray(), 2 * query.X.toarray())
        assert list(got.obs["cell_type"]) == list(query.obs["cell_type"].astype(str))


def test_a_matrix_without_values(query, tmp_path):
    empty = query[:5].copy()
    empty.X = 0 * empty.X
    empty.X.eliminate_zeros()
    with closing(DataFile(write_ten_x(empty, tmp_path / "a.h5"))) as file:
        for root in (h5py.File(tmp_path / "b.h5ad", "w"), zarr.open_group(tmp_path / "b.zarr", mode="w")):
            write_fresh(file, root)
            assert root["X"]["indptr"].shape == (6,)
            assert root["X"]["data"].shape == (0,)
            if isinstance(root, h5py.File):
                root.close()
