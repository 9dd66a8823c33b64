"""Parts of data files that anndata cannot read, against what anndata does with them."""

import json

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import write_elem
from scipy import sparse
from tests.reference import make_reference

from sctab import DataFileError
from sctab.io._readable import require_readable


@pytest.fixture(params=[".h5ad", ".zarr"])
def path(request, tmp_path):
    adata = make_reference(20)
    adata.obs["n_reads"] = np.arange(20)
    adata.obs["n_reads"] = adata.obs["n_reads"].astype("Int64")
    adata.obsm["X_pca"] = np.ones((20, 3))
    adata.obsp["distances"] = sparse.random(20, 20, 0.2, format="csr", random_state=0)
    adata.layers["other"] = sparse.csc_matrix(adata.X)
    adata.uns = {"title": "blood", "nested": {"number": 3, "names": np.array(["a", "b"], dtype=object)}}
    adata.raw = adata
    path = tmp_path / f"query{request.param}"
    adata.write_h5ad(path) if request.param == ".h5ad" else adata.write_zarr(path)
    return path


def changed(path, change):
    """Change a file or store in place, and gather the metadata of a store again."""
    if path.suffix == ".h5ad":
        with h5py.File(path, "r+") as root:
            change(root)
    else:
        change(zarr.open_group(str(path), mode="r+", use_consolidated=False))
        with pytest.warns(zarr.errors.ZarrUserWarning):
            zarr.consolidate_metadata(str(path))


def read(path):
    return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


def test_intact(path):
    require_readable(path, "query")


def lose(name):
    return lambda root: root.__delitem__(name)


def put(name, at, value):
    return lambda root: root[name].__setitem__(at, value)


def put_attribute(name, key, value):
    return lambda root: root[name].attrs.__setitem__(key, value)


UNREADABLE = {
    "obsp": lambda root: root["obsp"].attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"}),
    "obsp/distances": lose("obsp/distances/indices"),
    "layers/other": lose("layers/other/indptr"),
    "obs/n_reads": lose("obs/n_reads/mask"),
    "obs/cell_type": put("obs/cell_type/codes", 3, 100),
    "varm": put_attribute("varm", "encoding-version", "9.9.9"),
    "uns/title": put_attribute("uns/title", "encoding-type", "nonsense"),
    "uns/nested/names": put_attribute("uns/nested/names", "encoding-version", "9.9.9"),
    "obs": put_attribute("obs", "column-order", ["cell_type", "nothing"]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("place", UNREADABLE)
def test_what_anndata_cannot_read_is_refused(path, place):
    changed(path, UNREADABLE[place])
    with pytest.raises(Exception, match=r"."):
        read(path)
    with pytest.raises(DataFileError, match=f"`{place.split('/')[0]}.*` (of `query` cannot be read by anndata|is not a valid)"):
        require_readable(path, "query")


def add_short(root):
    root["obsm/short"] = np.ones((19, 2))
    root["obsm/short"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def test_rows_that_do_not_fit(path):
    changed(path, add_short)
    with pytest.raises(ValueError, match="short"):
        read(path)
    with pytest.raises(DataFileError, match="`obsm/short` of `query` cannot be read by anndata: its shape is"):
        require_readable(path, "query")


def test_what_raw_does_not_have(tmp_path):
    make_reference(20).write_zarr(path := tmp_path / "query.zarr")
    changed(path, lambda root: write_elem(root, "raw", {"log1p": {"base": 2}}))
    with pytest.raises(TypeError, match="log1p"):
        read(path)
    with pytest.raises(DataFileError, match="`raw` has no `log1p`"):
        require_readable(path, "query")


def test_a_cell_without_a_name(path):
    def lose_a_name(root):
        write_elem(root["obs"], "cell", pd.array(["a", None, *map(str, range(18))], dtype="string"))
        root["obs"].attrs["_index"] = "cell"

    changed(path, lose_a_name)
    with pytest.raises(DataFileError, match="`obs` of `query` cannot be read by anndata: a name in its index is missing"):
        require_readable(path, "query")


def test_slots_that_anndata_does_not_have(path):
    changed(path, lambda root: root.create_group("obs2"))
    with pytest.raises(DataFileError, match="AnnData has no `obs2`"):
        require_readable(path, "query")


@pytest.mark.parametrize("name", ["obsp/distances", "layers/other"])
@pytest.mark.parametrize("index", [-1, 1_000_000])
def test_indices_beyond_a_matrix_that_nobody_has_read(path, name, index):
    changed(path, put(f"{name}/indices", 5, index))
    with pytest.raises(DataFileError, match=f"`{name}` is not a valid CS. matrix"):
        require_readable(path, "query")


@pytest.mark.filterwarnings("ignore:.*will be removed in 0.14:DeprecationWarning", "ignore:This setting will:DeprecationWarning")
@pytest.mark.parametrize("change", [lambda chunk: chunk[:5], lambda chunk: chunk + 100 * b"x"], ids=["cut", "longer"])
def test_a_chunk_that_anndata_does_not_decode(tmp_path, change):
    adata = make_reference(20)
    adata.obsm["X_pca"] = np.ones((20, 3))
    with ad.settings.override(zarr_write_format=2):
        adata.write_zarr(path := tmp_path / "query.zarr")
    (chunk,) = (each for each in (path / "obsm" / "X_pca").iterdir() if each.name == "0.0")
    chunk.write_bytes(change(chunk.read_bytes()))
    with pytest.raises(RuntimeError, match="blosc"):
        read(path)
    with pytest.raises(DataFileError, match="`obsm/X_pca` of `query` cannot be read by anndata"):
        require_readable(path, "query")


def test_metadata_that_are_not_those_gathered(tmp_path):
    make_reference(20).write_zarr(path := tmp_path / "query.zarr")
    described = path / "obs" / "cell_type" / "zarr.json"
    values = json.loads(described.read_text())
    values["attributes"]["ordered"] = True
    described.write_text(json.dumps(values))
    with pytest.raises(DataFileError, match="metadata of `obs/cell_type` are not those that the store has gathered"):
        require_readable(path, "query")


def test_attributes_of_fixed_length_are_read(tmp_path):
    path = tmp_path / "query.h5ad"
    make_reference(20).write_h5ad(path)

    def fix(_, elem):
        for key, value in list(elem.attrs.items()):
            if isinstance(value, str):
                elem.attrs[key] = np.bytes_(value)
            elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
                elem.attrs[key] = np.array([str(item).encode() for item in value], dtype="S40")

    with h5py.File(path, "r+") as root:
        fix("", root)
        root.visititems(fix)
    assert ad.read_h5ad(path).shape == (20, make_reference(20).n_vars)
    require_readable(path, "query.h5ad")
