"""Other formats, and what is compressed with what is not installed, are named."""

import gzip
import json
import zipfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr

from sctab import DataFileError
from sctab.io._data_file import DataFile, read_data_file


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.h5ad"
    ad.AnnData(np.eye(6, dtype=np.float32)).write_h5ad(path)
    return path


def refused(path, match):
    """Both readers refuse it with the same words."""
    with pytest.raises(DataFileError, match=match) as found:
        DataFile(path)
    with pytest.raises(DataFileError) as other:
        read_data_file(path)
    assert str(found.value) == str(other.value)
    assert "damaged" not in str(found.value)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("a.h5ad.gz", "compressed as a whole, and none of the formats that are read. Unpack it first"),
            ("a.zarr.zip", "an archive.*Unpack it"),
            ("a.tar.gz", "an archive"),
            ("a.rds", r'an R file.*`anndataR::write_h5ad\(readRDS\(".*/a.rds"\), ".*/a.h5ad"\)`'),
            ("a.RData", r'an R file.*`load\(".*/a.RData"\); anndataR::write_h5ad\(object, ".*/a.h5ad"\)`'),
            ("a.qs", r'an R file.*`anndataR::write_h5ad\(qs::qread\(".*/a.qs"\), ".*/a.h5ad"\)`'),
            ("a.h5Seurat", r'SeuratDisk.*`SeuratDisk::Convert\(".*/a.h5Seurat", dest = "h5ad"\)`'),
            ("matrix.mtx", "needs the names of its features beside it, in `features.tsv`, `genes.tsv`"),
            ("GSM1_matrix.mtx.gz", "needs the names of its features beside it, in `GSM1_features.tsv`, `GSM1_genes.tsv`"),
            ("counts.mtx", "a Matrix Market file without names of genes and cells. Call it `matrix.mtx`"),
            ("counts.csv.gz", r'text table.*`anndata.io.read_csv\(".*/counts.csv.gz"\).T.write_h5ad\(".*/counts.h5ad"\)`'),
            ("a.txt.gz", "text table"),
            ("a.parquet", "is a table"),
            ("a.xlsx", "spreadsheet"),
            ("a.soma", "TileDB"),
            ("a.pkl", "pickle, which may run code"),
            ("a", "in none of the formats that are read: `.h5ad`, `.zarr`, `.h5mu`.*Provide one of these"),
        ],
    )
    def test_each_is_named(self, tmp_path, name, says):
        (tmp_path / name).write_bytes(b"anything")
        refused(tmp_path / name, says)

    @pytest.mark.parametrize("name", ["A.H5AD", "a.H5ad"])
    def test_upper_case(self, small, name):
        path = small.rename(small.with_name(name))
        assert DataFile(path).n_obs == read_data_file(path).n_obs == 6

    def test_upper_case_of_zarr(self, small):
        path = small.with_name("a.Zarr")
        ad.read_h5ad(small).write_zarr(path)
        assert DataFile(path).n_obs == read_data_file(path).n_obs == 6


class TestContent:
    @pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty: it has 0 bytes"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer.*git lfs pull"),
            (b"<!DOCTYPE html><html></html>", "a web page.*Download the file again"),
            (b"\n<html>", "a web page"),
            (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document, perhaps an error"),
            (b'{"message": "not found"}', "is JSON, perhaps an error"),
            (gzip.compress(b"x", mtime=0), "compressed with gzip"),
            (b"BZh91AY", "is compressed as a whole"),
            (b"PK\x03\x04", "a ZIP archive"),
            (b"%%MatrixMarket matrix", "Matrix Market"),
            (b"RDX3\nX\n", "an R file"),
            (b"PAR1", "a Parquet table"),
            (b"\x80\x04\x95", "a pickle, which may run code"),
        ],
    )
    def test_each_is_named(self, tmp_path, name, content, says):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, says)

    def test_a_file_that_ends_too_early(self, small):
        content = small.read_bytes()
        small.write_bytes(content[: len(content) // 2])
        refused(small, rf"is incomplete: it has {len(content) // 2:,} of {len(content):,} bytes. Copy it again")

    def test_endings_that_are_exchanged(self, small):
        refused(small.rename(small.with_name("a.zarr")), "is an HDF5 file: rename it to `.h5ad`")
        ad.AnnData(np.eye(3, dtype=np.float32)).write_zarr(small.with_name("b.h5ad"))
        refused(small.with_name("b.h5ad"), "holds a Zarr store: rename it to `.zarr`")

    @pytest.mark.parametrize(
        ("names", "says"),
        [
            ([], "It is empty; copy the complete store again"),
            (["X", "obs"], "It holds `X`, `obs`; copy the complete store again"),
            (["matrix.mtx.gz", "barcodes.tsv.gz"], "10x Genomics directory and not a Zarr store. Rename it, without `.zarr`"),
            (["__group", "__schema"], "is a TileDB store and no Zarr store"),
        ],
    )
    def test_directories(self, tmp_path, names, says):
        for name in names:
            (tmp_path / "a.zarr" / name).mkdir(parents=True)
        (tmp_path / "a.zarr").mkdir(exist_ok=True)
        refused(tmp_path / "a.zarr", says)

    @pytest.mark.parametrize(
        ("groups", "says"),
        [
            (
                ["matrix/barcodes", "matrix/indptr", "matrix/features"],
                "a matrix of 10x Genomics, despite its suffix. Rename it to `.h5`",
            ),
            (["GRCh38/barcodes", "GRCh38/indptr", "GRCh38/genes"], "10x Genomics"),
            (["tables/table", "images"], r"SpatialData with the tables `table`.*anndata.read_zarr\(path \+ '/tables/table'\)"),
            (["tables/a", "shapes"], "SpatialData with the tables `a`"),
            (["row_attrs", "col_attrs", "matrix"], "a Loom file, despite its suffix. Rename it to `.loom`"),
            (["barcode_idx", "feature_idx"], "the molecule information.*Provide `filtered_feature_bc_matrix.h5`"),
            (["assays/RNA", "meta.data", "cell.names"], "SeuratDisk"),
            (["data", "stuff"], "is not an AnnData: it has neither `obs` nor `var`, but `data`, `stuff`"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_what_is_in_it(self, tmp_path, suffix, groups, says):
        path = tmp_path / f"a{suffix}"
        root = h5py.File(path, "w") if suffix == ".h5ad" else zarr.open_group(path, mode="w")
        for name in groups:
            root.create_group(name)
        if suffix == ".h5ad":
            root.close()
        refused(path, says)


def compress_with(path, name, code):
    """Make a dataset whose only chunk is stored with a filter."""
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        del file[name]
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk(values.shape)
        settings.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (3,))
        place, last = name.rsplit("/", 1) if "/" in name else ("/", name)
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(file[place].id, last.encode(), h5py.h5t.py_create(values.dtype, logical=True), space, settings)
        made.write_direct_chunk((0,) * values.ndim, values.tobytes(), filter_mask=0)


class TestCompression:
    @pytest.mark.parametrize(("code", "name"), [(32099, "of an unknown name"), (64001, "of an unknown name")])
    @pytest.mark.parametrize("of", ["X", "obs/kept"])
    def test_a_filter_that_is_missing(self, small, code, name, of):
        adata = ad.read_h5ad(small)
        adata.obs["kept"] = np.arange(6)
        adata.write_h5ad(small)
        compress_with(small, of, code)
        refused(small, rf"HDF5 filter `{name}` \(number {code}\), which is not installed here.*pip install hdf5plugin")

    @pytest.mark.parametrize("version", [2, 3])
    def test_a_codec_that_is_missing(self, tmp_path, version):
        path = tmp_path / "a.zarr"
        ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=version), "/", ad.AnnData(np.eye(3, dtype=np.float32)))
        place = path / "X" / (".zarray" if version == 2 else "zarr.json")
        values = json.loads(place.read_text())
        if version == 2:
            values["compressor"] = {"id": "strange"}
        else:
            values["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "strange"}]
        place.write_text(json.dumps(values))
        refused(path, "compressed with the codec `strange`, which is not installed here")

    def test_pickled_objects_are_not_read(self, tmp_path):
        path = tmp_path / "a.zarr"
        ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=2), "/", ad.AnnData(np.eye(3, dtype=np.float32)))
        place = path / "X" / ".zarray"
        values = json.loads(place.read_text())
        ran = tmp_path / "ran"
        place.write_text(json.dumps(values | {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None}))
        (path / "X" / "0.0").write_bytes(f"cposix\nmkdir\n(S'{ran}'\ntR.".encode())
        refused(path, "pickled objects, which may run code")
        assert not Path(ran).exists()


def test_a_zip_of_a_store(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zarr", "w") as archive:
        archive.writestr("zarr.json", "{}")
    refused(tmp_path / "a.zarr", "is a ZIP archive, despite its suffix. Unpack it")
