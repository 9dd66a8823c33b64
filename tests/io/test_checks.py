"""Damaged matrices at every door: files, AnnData in memory, backed and on Dask, views, corpora and what is left of a build."""

import json
import os
import shutil

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from dask import delayed
from scipy import sparse
from tests.reference import make_reference

import sctab
from sctab import DataFileError, InputValueError, SctabWarning
from sctab.cli._files import read_data
from sctab.corpus import Corpus, CorpusConfig, build
from sctab.data._source import choose_source
from sctab.io import DataFile
from sctab.io._checks import require_sound_cells, require_sound_view
from sctab.io._rows import RowReader, row_blocks
from sctab.model import LinearClassifier
from sctab.train import own_copy
from sctab.train._streaming import RowLoader

PLACES = {
    "X": lambda adata, matrix: setattr(adata, "X", matrix),
    "layers['spliced']": lambda adata, matrix: adata.layers.__setitem__("spliced", matrix),
    "raw.X": lambda adata, matrix: setattr(adata, "raw", ad.AnnData(matrix, obs=adata.obs, var=adata.var)),
}


def damaged(matrix, value=10**6, at=50):
    """The same matrix with an index that points outside of it, as SciPy does not look at it."""
    matrix = matrix.copy()
    matrix.indices[at] = value
    return matrix


def stored_in(place, adata):
    """Where in a file a matrix lies."""
    return {"X": "X", "raw.X": "raw/X"}.get(place, "layers/spliced")


class TestInMemory:
    @pytest.mark.parametrize("kind", ["csr", "csc"])
    @pytest.mark.parametrize("place", PLACES)
    def test_every_matrix_is_checked(self, kind, place):
        adata = make_reference()
        PLACES[place](adata, damaged(adata.X.asformat(kind)))
        with pytest.raises(InputValueError) as caught:
            require_sound_cells(adata)
        assert str(caught.value).startswith(f"`{place}` is not a valid {kind.upper()} matrix: `indices` must lie between 0 and")
        with pytest.raises(DataFileError, match=r"^`a.h5ad`: "):
            require_sound_cells(adata, "a.h5ad")

    @pytest.mark.parametrize("slot", ["obsm", "obsp"])
    def test_what_is_copied_along_is_checked(self, slot):
        adata = make_reference()
        size = adata.n_obs if slot == "obsp" else 5
        getattr(adata, slot)["graph"] = damaged(sparse.random(adata.n_obs, size, 0.5, format="csr", rng=np.random.default_rng(0)))
        with pytest.raises(InputValueError, match=rf"`{slot}\['graph'\]` is not a valid CSR matrix"):
            own_copy(adata, np.arange(10))

    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_views(self, kind):
        adata = make_reference()
        adata.X = damaged(adata.X.asformat(kind))
        for view in (adata[5:50], adata[:, 3:20]):
            with pytest.raises(InputValueError, match="`X` is not a valid"):
                require_sound_view(view)
            with pytest.raises(InputValueError, match="`X` is not a valid"):
                sctab.tl.annotate(view, "pbmc")

    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_annotation(self, kind):
        adata = make_reference()
        adata.layers["other"] = adata.X
        adata.X = damaged(adata.X.asformat(kind))
        with pytest.raises(InputValueError, match=f"`X` is not a valid {kind.upper()} matrix"):
            sctab.tl.annotate(adata, "pbmc", layer="X")
        assert not adata.uns

    def test_training(self):
        adata = make_reference()
        adata.X = damaged(adata.X)
        with pytest.raises(InputValueError, match="`X` is not a valid CSR matrix"):
            LinearClassifier.setup_anndata(adata, "cell_type")

    def test_blocks_of_dask(self):
        matrix = damaged(make_reference().X)
        matrix.indptr[100] = 10**9
        lazy = da.from_array(matrix, chunks=(100, -1), asarray=False)
        computed = da.concatenate([da.from_delayed(delayed(matrix), matrix.shape, dtype=matrix.dtype, meta=matrix[:0])])
        for array in (lazy, lazy[30:200], da.from_array(matrix, chunks=(100, -1), asarray=False, inline_array=True), computed):
            with pytest.raises(InputValueError, match=r"`X` is not a valid CSR matrix: `indptr` must never fall"):
                RowReader(array).read(0, 100)

    @pytest.mark.parametrize("dtype", [complex, object, "U3", "datetime64[s]"])
    def test_what_is_no_number(self, dtype):
        adata = make_reference()
        dense = adata.X.toarray()
        for matrix in (dense.astype(int).astype(dtype), da.from_array(dense.astype(int).astype(dtype), chunks=dense.shape)):
            with pytest.raises(InputValueError, match="`X` must hold real numbers, and holds"):
                list(row_blocks(matrix))

    def test_numbers_as_objects_can_be_converted(self):
        dense = make_reference().X.toarray()
        with pytest.raises(InputValueError, match=r"holds object, which `\.astype\('float32'\)` converts"):
            list(row_blocks(dense.astype(object)))

    def test_repeated_values_are_told(self):
        adata = make_reference()
        adata.X.indices[1] = adata.X.indices[0]
        _, notes = choose_source(adata)
        assert notes == ["`X` has duplicate entries for some cells and genes (1 too many); they were summed."]
        with pytest.warns(SctabWarning, match="duplicate entries for some cells"):
            LinearClassifier.setup_anndata(adata, "cell_type")


@pytest.fixture(params=[".h5ad", ".zarr"])
def write(request, tmp_path):
    """Write an AnnData, and change what is in the file."""

    def written(adata, change):
        path = tmp_path / f"a{request.param}"
        if path.suffix == ".h5ad":
            adata.write_h5ad(path)
            with h5py.File(path, "r+") as file:
                change(file)
        else:
            adata.write_zarr(path)
            change(zarr.open_group(path, mode="r+", use_consolidated=False))
            forget_consolidated(path)
        return path

    return written


def forget_consolidated(path):
    """Drop the copy of the metadata of all arrays that anndata leaves at the root."""
    metadata = json.loads((path / "zarr.json").read_text())
    metadata.pop("consolidated_metadata", None)
    (path / "zarr.json").write_text(json.dumps(metadata))


class TestFiles:
    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_an_index_outside(self, write, place, kind):
        adata = make_reference()
        PLACES[place](adata, adata.X.asformat(kind))

        def change(file):
            file[stored_in(place, adata)]["indices"][3] = 10**6

        path = write(adata, change)
        file = DataFile(path)
        matrix = {"X": file.X, "raw.X": file.raw and file.raw.X, "layers['spliced']": file.layers.get("spliced")}[place]
        with pytest.raises(DataFileError) as caught:
            list(row_blocks(matrix))
        assert str(caught.value).startswith(
            f"`{path}`: `{place}` is not a valid {kind.upper()} matrix: `indices` must lie between 0 and"
        )
        with pytest.raises(DataFileError) as caught:
            read_data(path)
        assert str(caught.value).startswith(f"`{path}`: `{place}` is not a valid")

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize(("rows", "columns"), [(-5, 0), (5, 0), (0, -5), (0, 5)])
    def test_another_shape(self, write, place, rows, columns):
        adata = make_reference()
        PLACES[place](adata, adata.X.toarray())
        shape = (adata.n_obs + rows, adata.n_vars + columns)

        def change(file):
            parent, _, name = f"/{stored_in(place, adata)}".rpartition("/")
            group = file[parent] if parent else file
            del group[name]
            ad.io.write_elem(group, name, np.ones(shape, dtype=np.float32))

        path = write(adata, change)
        with pytest.raises(DataFileError) as caught:
            DataFile(path)
        assert str(caught.value).startswith(f"`{path}`: `{place}` must have a row for each of the 240 cells in `obs`")
        assert f"and has {shape[0]} rows and {shape[1]} columns" in str(caught.value)

    @pytest.mark.parametrize("shape", [(), (240,), (240, 60, 1)])
    def test_another_number_of_dimensions(self, write, shape):
        def change(file):
            del file["X"]
            ad.io.write_elem(file, "X", np.ones(shape, dtype=np.float32))

        with pytest.raises(DataFileError, match="`X` must have two dimensions, and has the shape"):
            DataFile(write(make_reference(), change))

    def test_a_shape_that_the_arrays_do_not_have(self, write):
        path = write(make_reference(), lambda _: None)
        for shape in ([240, 59], [239, 60], [10**12, 60], [240, -60], [240]):
            group = h5py.File(path, "r+") if path.suffix == ".h5ad" else zarr.open_group(path, mode="r+")
            group["X"].attrs["shape"] = shape
            if path.suffix == ".h5ad":
                group.close()
            with pytest.raises(DataFileError, match="`X` "):
                DataFile(path)

    def test_text_instead_of_numbers_is_not_read(self, write):
        def change(file):
            ad.io.write_elem(file["layers"], "names", np.full((240, 60), "a", dtype=object))

        file = DataFile(write(make_reference(), change))
        assert choose_source(file)[0].name == "X"
        with pytest.raises(InputValueError, match=r"`layers\['names'\]` must hold real numbers"):
            choose_source(file, layer="names")


def in_chunks(adata, path, rows, columns):
    """A `.zarr` whose dense `X` is in several chunks."""
    adata = adata.copy()
    adata.X = adata.X.toarray() + 1  # no chunk of zeros, which is not stored
    adata.write_zarr(path)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    values, attributes = group["X"][:], dict(group["X"].attrs)
    del group["X"]
    group.create_array("X", data=values, chunks=(rows, columns)).attrs.update(attributes)
    forget_consolidated(path)


def chunk(path, array, *numbers):
    """The file of a chunk."""
    return path / array / "c" / "/".join(map(str, numbers))


class TestIncompleteStores:
    def test_dense(self, tmp_path):
        in_chunks(make_reference(), tmp_path / "a.zarr", 100, 30)
        assert choose_source(DataFile(tmp_path / "a.zarr"))[1] == []
        chunk(tmp_path / "a.zarr", "X", 1, 0).unlink()
        _, notes = choose_source(DataFile(tmp_path / "a.zarr"))
        assert len(notes) == 1
        assert notes[0].startswith("`X` lacks 1 of its stored pieces, in cells 100 to 199: zeros are read there.")
        with pytest.warns(SctabWarning, match="`X` lacks 1 of its stored pieces"):
            read_data(tmp_path / "a.zarr")

    def test_dense_that_is_opened_by_anndata(self, tmp_path):
        in_chunks(make_reference(), tmp_path / "a.zarr", 100, 30)
        chunk(tmp_path / "a.zarr", "X", 2, 1).unlink()
        adata = make_reference()
        lazy = ad.AnnData(obs=adata.obs, var=adata.var)
        rows = zarr.open_group(tmp_path / "a.zarr", mode="r")["X"]
        assert "in cells 200 to 239" in choose_source(_with_matrix(lazy, rows))[1][0]

    @pytest.mark.parametrize("name", ["data", "indices", "indptr"])
    def test_sparse(self, tmp_path, name):
        path = tmp_path / "a.zarr"
        make_reference().write_zarr(path)
        chunk(path, f"X/{name}", 0).unlink()
        for read in (lambda: choose_source(DataFile(path)), lambda: read_data(path)):
            with pytest.raises(DataFileError, match=f"a piece of `{name}` is missing"):
                read()

    @pytest.mark.parametrize("table", ["obs", "var"])
    def test_names(self, tmp_path, table):
        path = tmp_path / "a.zarr"
        make_reference().write_zarr(path)
        index = zarr.open_group(path, mode="r")[table].attrs["_index"]
        chunk(path, f"{table}/{index}/values", 0).unlink()
        with pytest.raises(DataFileError, match=f"a piece of the index of `{table}` is missing, entries 0 to"):
            DataFile(path)

    def test_columns(self, tmp_path):
        path = tmp_path / "a.zarr"
        adata = make_reference()
        adata.obs["study"] = pd.Categorical(["one"] * adata.n_obs)  # all of its codes are zero, and need not be stored
        adata.write_zarr(path)
        assert DataFile(path, ["cell_type", "study"]).obs["cell_type"].tolist() == adata.obs["cell_type"].tolist()
        chunk(path, "obs/cell_type/codes", 0).unlink()
        for read in (lambda: DataFile(path, ["cell_type", "study"]), lambda: read_data(path)):
            with pytest.warns(SctabWarning, match="`cell_type` lacks 1 of its stored pieces, in rows 0 to 239: its first category"):
                read()
        shutil.rmtree(path / "obs/cell_type/categories/c", ignore_errors=True)
        shutil.rmtree(path / "obs/cell_type/categories/values/c", ignore_errors=True)
        with pytest.raises(DataFileError, match="a piece of the categories of `cell_type` is missing"):
            DataFile(path, ["cell_type"])


def _with_matrix(adata, matrix):
    """What `choose_source` looks at, with a matrix that anndata would load."""

    class Cells:
        n_obs, n_vars, obs, var, raw, layers, X = adata.n_obs, adata.n_vars, adata.obs, adata.var, None, {}, matrix

    return Cells()


class TestCorpora:
    @pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
    def test_damaged_parts(self, tmp_path, declared):
        corpus = build(CorpusConfig.of(declared | {"features": "union"}), tmp_path / "blood.corpus")
        cells = np.arange(corpus.n_obs_of("train"))
        whole = corpus.to_anndata("train").X
        np.testing.assert_array_equal(RowLoader(corpus.matrices("train")).rows(cells).toarray(), whole.toarray())
        for name in ("indices", "indptr"):
            array = zarr.open_group(corpus.path / "train.zarr" / "dataset_0", mode="r+")["X"][name]
            kept = array[5]
            array[5] = np.iinfo(array.dtype).max
            with pytest.raises(DataFileError, match="`X` is not a valid CSR matrix"):
                corpus.to_anndata("train")
            with pytest.raises(DataFileError, match="`X` is not a valid CSR matrix"):
                RowLoader(corpus.matrices("train")).rows(cells)
            assert any("is not a valid CSR matrix" in problem for problem in corpus.verify())
            array[5] = kept
        assert corpus.verify() == []

    @pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
    @pytest.mark.parametrize("array", ["data", "indices", "indptr"])
    def test_chunks_that_cannot_be_decoded(self, tmp_path, declared, array):
        corpus = build(CorpusConfig.of(declared | {"features": "union"}), tmp_path / "blood.corpus")
        for chunk in (tmp_path / "blood.corpus/train.zarr/dataset_0/X" / array / "c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"\xff" * chunk.stat().st_size)
        with pytest.raises(DataFileError, match=r"blood.corpus` cannot be read as a corpus"):
            corpus.to_anndata("train")
        with pytest.raises(DataFileError, match=r"blood.corpus\S*` cannot be read as a corpus"):
            RowLoader(corpus.matrices("train")).rows(np.arange(corpus.n_obs_of("train")))

    @pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
    def test_links_and_pipes_are_not_read(self, tmp_path, declared):
        path = build(CorpusConfig.of(declared | {"features": "union"}), tmp_path / "blood.corpus").path
        chunk = next(each for each in (path / "train.zarr/dataset_0/X/data/c").rglob("*") if each.is_file())
        chunk.unlink()
        chunk.symlink_to("/dev/zero")
        with pytest.raises(DataFileError, match=r"is a link to `/dev/zero`.*cp -rL"):
            Corpus.open(path)
        chunk.unlink()
        os.mkfifo(chunk)
        with pytest.raises(DataFileError, match="is a pipe"):
            Corpus.open(path)
