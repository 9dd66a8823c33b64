"""Files against the AnnData that was written to them."""

import pickle
from pathlib import Path

import anndata as ad
import fsspec
import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse
from tests.served import GivesParts, Quiet, served

from sctab import DataFileError
from sctab.io import DataFile, _urls, find_data_files
from sctab.io._rows import RowReader

FORMATS = {"dense": lambda X: X.toarray(), "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}


def write(adata, path, **kwargs):
    (adata.write_h5ad if path.suffix == ".h5ad" else adata.write_zarr)(path, **kwargs)
    return path


def assert_same(file, adata):
    assert (file.n_obs, file.n_vars) == adata.shape
    assert list(file.var.index) == list(adata.var_names)
    assert file.names(2, 7) == list(adata.obs_names[2:7])
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    np.testing.assert_array_equal(RowReader(file.X).read(3, 200).toarray(), X[3:200])


class TestReading:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    @pytest.mark.parametrize("storage", FORMATS)
    def test_matrices(self, query, tmp_path, suffix, storage):
        stored = query.copy()
        stored.raw = query[:, :50].copy()
        stored.X = FORMATS[storage](query.X)
        file = DataFile(write(stored, tmp_path / f"a{suffix}"))
        assert_same(file, query)
        np.testing.assert_array_equal(RowReader(file.layers["doubled"]).read(0, 9).toarray(), 2 * query.X[:9].toarray())
        np.testing.assert_array_equal(RowReader(file.raw.X).read(0, 9).toarray(), query.X[:9, :50].toarray())
        assert list(file.raw.var.index) == list(query.var_names[:50])

    @pytest.mark.parametrize("version", [2, 3])
    def test_versions_of_zarr(self, query, tmp_path, version):
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
        ad.io.write_elem(group, "/", query)
        assert_same(DataFile(tmp_path / "a.zarr"), query)

    def test_sharded_zarr(self, query, tmp_path):
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
        ad.io.write_elem(group, "/", query)
        X = query.X.tocsr()
        for name in ("data", "indices"):
            values = getattr(X, name)
            attributes = dict(group[f"X/{name}"].attrs)
            del group[f"X/{name}"]
            array = group.create_array(f"X/{name}", shape=values.shape, dtype=values.dtype, chunks=(64,), shards=(512,))
            array[:] = values
            array.attrs.update(attributes)
        assert group["X/data"].shards == (512,)
        assert_same(DataFile(tmp_path / "a.zarr"), query)

    def test_compressed_h5ad(self, query, tmp_path):
        assert_same(DataFile(write(query, tmp_path / "a.h5ad", compression="gzip")), query)

    def test_columns_of_obs_that_are_asked_for(self, query, tmp_path):
        file = DataFile(write(query, tmp_path / "a.h5ad"), ["donor_id", "not there"])
        assert list(file.obs.columns) == ["donor_id"]
        assert list(file.obs["donor_id"]) == list(query.obs["donor_id"])

    def test_a_file_without_X(self, query, tmp_path):
        adata = ad.AnnData(obs=query.obs, var=query.var, layers={"counts": query.X})
        file = DataFile(write(adata, tmp_path / "a.h5ad"))
        assert file.X is None
        assert list(file.layers) == ["counts"]

    def test_names_with_any_letters(self, query, tmp_path):
        query = query.copy()
        query.obs_names = [f"Zellé-{i}-細胞" for i in range(query.n_obs)]
        for suffix in (".h5ad", ".zarr"):
            assert_same(DataFile(write(query, tmp_path / f"a{suffix}")), query)

    def test_it_can_be_sent_to_another_process(self, query, tmp_path):
        file = DataFile(write(query, tmp_path / "a.h5ad"), ["donor_id"])
        again = pickle.loads(pickle.dumps(file))
        assert_same(again, query)
        assert again.fingerprint() == file.fingerprint()
        assert list(again.obs.columns) == ["donor_id"]


class TestLargeCsc:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_is_transposed_on_disk(self, query, tmp_path, suffix, monkeypatch):
        monkeypatch.setattr("sctab.io._stored._MOST_IN_MEMORY", 500)
        monkeypatch.setattr("sctab.io._stored._ROWS", 37)
        stored = query.copy()
        stored.X = sparse.csc_matrix(query.X)
        assert stored.X.nnz > 5000
        rows = RowReader(DataFile(write(stored, tmp_path / f"a{suffix}")).X)
        for start, stop in ((0, 300), (0, 1), (36, 38), (111, 250), (299, 300)):
            np.testing.assert_array_equal(rows.read(start, stop).toarray(), query.X[start:stop].toarray())


class TestUrls:
    def test_in_memory(self, query):
        store = zarr.storage.FsspecStore.from_url("memory://bucket/a.zarr")
        query.write_zarr(store)
        assert_same(DataFile("memory://bucket/a.zarr"), query)
        query.write_zarr(zarr.storage.FsspecStore.from_url("memory://bucket/b.zarr"))
        found = find_data_files(["memory://bucket/*.zarr"])
        assert [path.rsplit("/")[-1] for path in found] == ["a.zarr", "b.zarr"]
        assert_same(DataFile(found[1]), query)
        fsspec.filesystem("memory").rm("/bucket", recursive=True)

    def test_h5ad_in_memory(self, query, tmp_path):
        filesystem = fsspec.filesystem("memory")
        filesystem.pipe("/bucket/a.h5ad", Path(write(query, tmp_path / "a.h5ad")).read_bytes())
        data = DataFile("memory://bucket/a.h5ad")
        assert_same(data, query)
        assert find_data_files(["memory://bucket/*.h5ad"])[0].endswith("a.h5ad")
        before = data.fingerprint()
        filesystem.pipe("/bucket/a.h5ad", Path(write(query[:20].copy(), tmp_path / "b.h5ad")).read_bytes())
        assert DataFile("memory://bucket/a.h5ad").fingerprint() != before
        with pytest.raises(DataFileError, match=r"`memory://bucket/c.h5ad` not found. Check the URL"):
            DataFile("memory://bucket/c.h5ad")
        filesystem.rm("/bucket", recursive=True)

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_over_http(self, query, tmp_path, suffix, monkeypatch):
        monkeypatch.setattr(_urls, "_BLOCK", 2**16)
        path = write(query, tmp_path / f"a{suffix}")
        with served(tmp_path, GivesParts) as address:
            data = DataFile(f"{address}/a{suffix}")
            assert_same(data, query)
            data.close()
        if suffix == ".h5ad":
            assert len(GivesParts.ranges) > 1
            assert max(stop - start for start, stop in GivesParts.ranges) < Path(path).stat().st_size / 2

    def test_a_server_that_gives_whole_files_only(self, query, tmp_path, monkeypatch):
        monkeypatch.setattr(_urls, "_BLOCK", 2**16)
        write(query, tmp_path / "a.h5ad")
        with (
            served(tmp_path, Quiet) as address,
            pytest.raises(DataFileError, match=r"server without range requests.*Download it, or provide a `.zarr`"),
        ):
            DataFile(f"{address}/a.h5ad")


class TestFinding:
    def test_files_directories_and_patterns(self, query, tmp_path):
        small = query[:3].copy()
        for name in ("b.h5ad", "a.zarr", "c.h5ad"):
            write(small, tmp_path / name)
        (tmp_path / "notes.txt").write_text("no data")
        a, b, c = (str(tmp_path / name) for name in ("a.zarr", "b.h5ad", "c.h5ad"))
        assert find_data_files([tmp_path]) == [a, b, c]
        assert find_data_files([f"{tmp_path}/*.h5ad"]) == [b, c]
        assert find_data_files([c, f"{a}/", tmp_path / "b.h5ad", c]) == [c, a, b]

    def test_nothing_found(self, tmp_path):
        with pytest.raises(DataFileError, match="matches none of the formats that are read"):
            find_data_files([f"{tmp_path}/*.h5ad"])
        with pytest.raises(DataFileError, match="holds no file in the formats that are read"):
            find_data_files([tmp_path])


class TestRefusals:
    def test_missing(self, tmp_path):
        with pytest.raises(DataFileError, match="not found. Check the path"):
            DataFile(tmp_path / "a.h5ad")

    def test_another_type(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b")
        with pytest.raises(DataFileError, match="is a text table, and none of the formats that are read"):
            DataFile(tmp_path / "a.csv")

    def test_damaged(self, tmp_path):
        (tmp_path / "a.h5ad").write_bytes(b"no hdf5")
        with pytest.raises(DataFileError, match=r"a.h5ad` cannot be read as .h5ad.*damaged; copy or export it again"):
            DataFile(tmp_path / "a.h5ad")

    def test_damaged_in_the_middle(self, query, tmp_path):
        path = write(query, tmp_path / "a.h5ad", compression="gzip")
        with h5py.File(path) as file:
            info = file["X/data"].id.get_chunk_info(0)
        content = bytearray(path.read_bytes())
        content[info.byte_offset : info.byte_offset + info.size] = b"\xff" * info.size
        path.write_bytes(content)
        file = DataFile(path)
        with pytest.raises(DataFileError, match=r"a.h5ad` cannot be read as .h5ad"):
            RowReader(file.X).read(0, 10)
