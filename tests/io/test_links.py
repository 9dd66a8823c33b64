"""Data files with parts that are elsewhere, as HDF5, Zarr and the file system make them."""

import os
import re

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse

from sctab import DataFileError
from sctab.io._data_file import DataFile, read_data_file
from sctab.io._links import check_hdf5, check_store, is_same_state, require_plain, state_of


@pytest.fixture
def path(tmp_path):
    X = sparse.random(5, 4, density=0.5, format="csr", random_state=0, dtype=np.float32)
    adata = ad.AnnData(X, obsm={"X_pca": np.ones((5, 2))}, layers={"counts": X}, uns={"k": 1, "deep": {"er": np.arange(3)}})
    adata.write_h5ad(tmp_path / "query.h5ad")
    adata.write_h5ad(tmp_path / "victim.h5ad")
    (tmp_path / "secret.bin").write_bytes(np.arange(20, dtype=np.float32).tobytes())
    return tmp_path / "query.h5ad"


def external(place, target="/uns"):
    def spoil(file):
        if place in file:
            del file[place]
        file[place] = h5py.ExternalLink("victim.h5ad", target)

    return spoil


def stored_elsewhere(file):
    del file["X"]
    file.create_dataset("X", shape=(5, 4), dtype="f4", external=[(str(file.filename).replace("query.h5ad", "secret.bin"), 0, 80)])


def virtual(file):
    del file["X"]
    layout = h5py.VirtualLayout(shape=(5, 2), dtype="f8")
    layout[:] = h5py.VirtualSource("victim.h5ad", "obsm/X_pca", shape=(5, 2))
    file.create_virtual_dataset("X", layout)


def dangling(place):
    def spoil(file):
        if place in file:
            del file[place]
        file[place] = h5py.SoftLink("/not/there")

    return spoil


def through_a_link(file):
    file["uns/out"] = h5py.ExternalLink("victim.h5ad", "/")
    file["layers/more"] = h5py.SoftLink("/uns/out/X")


def cyclic_soft(file):
    file["uns/deep/again"] = h5py.SoftLink("/uns")


def cyclic_hard(file):
    file["uns/deep/again"] = file["uns"]


def results_are_shared(file):
    del file["obsm"]
    file["obsm"] = file["uns"]


def results_are_linked(file):
    del file["obsm"]
    file["obsm"] = h5py.SoftLink("/uns")


REFUSED = {
    "external uns": (external("uns"), "`uns` is a link to another file, `victim.h5ad`"),
    "external obsm": (external("obsm", "/obsm"), "`obsm` is a link to another file"),
    "external obs": (external("obs", "/obs"), "`obs` is a link to another file"),
    "external X": (external("X", "/X"), "`X` is a link to another file"),
    "external layer": (external("layers/counts", "/X"), "`layers/counts` is a link to another file"),
    "external, deep": (external("uns/deep/er", "/uns/k"), "`uns/deep/er` is a link to another file"),
    "external part of a matrix": (external("X/data", "/X/data"), "`X/data` is a link to another file"),
    "external storage": (stored_elsewhere, r"`X` is an array whose values are in another file, `.*secret.bin`"),
    "virtual": (virtual, "`X` is a virtual array of values in other files, such as `victim.h5ad`"),
    "dangling": (dangling("obs/nothing"), "`obs/nothing` is a link to `/not/there`, which is not in the file.*Delete the link"),
    "dangling matrix": (dangling("X"), "`X` is a link to `/not/there`, which is not in the file"),
    "dangling part of a layer": (dangling("layers/counts/indptr"), "`layers/counts/indptr` is a link to `/not/there`"),
    "soft through external": (through_a_link, "is a link to (another file|`/uns/out/X`, which leads to another file)"),
    "cycle of a soft link": (cyclic_soft, "`uns/deep/again` leads back to a group that it lies in"),
    "cycle of a hard link": (cyclic_hard, "`uns/deep/again` leads back to a group that it lies in"),
    "results are another group": (results_are_shared, "`obsm` is the same group as `/uns`"),
    "results lead to another group": (results_are_linked, "is the same group as"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_elsewhere_is_refused(path, case):
    spoil, message = REFUSED[case]
    with h5py.File(path, "r+") as file:
        spoil(file)
    before = (path.parent / "victim.h5ad").read_bytes()
    with h5py.File(path) as file, pytest.raises(DataFileError, match=message):
        check_hdf5(file, str(path))
    for read in (DataFile, read_data_file):  # the two ways in which a file is opened
        with pytest.raises(DataFileError, match=message):
            read(path)
    assert (path.parent / "victim.h5ad").read_bytes() == before


def test_links_within_a_file_are_followed(path):
    with h5py.File(path, "r+") as file:
        assert check_hdf5(file, str(path)) is False
        file["layers/soft"] = h5py.SoftLink("/X")
        assert check_hdf5(file, str(path)) is True
        file["layers/hard"] = file["X"]
        layout = h5py.VirtualLayout(shape=(5, 2), dtype="f8")
        layout[:] = h5py.VirtualSource(".", "obsm/X_pca", shape=(5, 2))
        file.create_virtual_dataset("obsm/own", layout).attrs.update(dict(file["obsm/X_pca"].attrs))
        check_hdf5(file, str(path))
    opened = DataFile(path)
    expected = ad.read_h5ad(path)
    for name in ("soft", "hard"):
        np.testing.assert_array_equal(opened.layers[name][0:5].toarray(), expected.X.toarray())
    opened.close()


@pytest.mark.parametrize("place", ["uns/nothing", "uns/deep/er", "obsm/X_pca", "uns", "varp/graph"])
def test_a_link_to_nothing_matters_where_it_is_read(path, place):
    with h5py.File(path, "r+") as file:
        dangling(place)(file)
    with h5py.File(path) as file, pytest.raises(DataFileError, match=f"`{place}` is a link to `/not/there`.*Delete the link"):
        check_hdf5(file, str(path))
    with pytest.raises(DataFileError, match=f"`{place}` is a link to `/not/there`"):
        read_data_file(path)
    opened = DataFile(path)
    assert opened.X[0:5].shape == (5, 4)
    opened.close()


def test_a_group_with_two_names_is_visited_once(path):
    """Doubling at each of many levels must not take for ever."""
    with h5py.File(path, "r+") as file:
        inner = file.create_group("uns/level")
        for i in range(60):
            outer = file.create_group(f"uns/level_{i}")
            outer["a"], outer["b"] = inner, inner
            inner = outer
        check_hdf5(file, str(path))


class TestStores:
    @pytest.fixture
    def store(self, path):
        ad.read_h5ad(path).write_zarr(path.with_suffix(".zarr"))
        return path.with_suffix(".zarr")

    @pytest.mark.parametrize("place", ["uns/mine", "X/data/c/1", "zarr.json.bak", "obs/.hidden"])
    @pytest.mark.parametrize("to", ["file", "directory", "nothing"])
    def test_links(self, store, place, to):
        target = {"file": "secret.bin", "directory": ".", "nothing": "absent"}[to]
        (store / place).symlink_to(store.parent / target)
        for read in (check_store, DataFile, read_data_file):
            with pytest.raises(DataFileError, match=rf"query.zarr`: `{re.escape(place)}` is a link to `.*`\. A store must contain"):
                read(store)

    def test_a_part_that_is_a_link(self, store):
        (store / "uns").rename(store.parent / "moved")
        (store / "uns").symlink_to(store.parent / "moved")
        with pytest.raises(DataFileError, match="`uns` is a link"):
            DataFile(store)

    def test_a_pipe(self, store):
        os.mkfifo(store / "uns/waits")
        with pytest.raises(DataFileError, match="`uns/waits` is a pipe, a socket or a device"):
            read_data_file(store)

    def test_a_store_that_is_reached_by_a_link(self, store):
        (store.parent / "link.zarr").symlink_to(store)
        assert DataFile(store.parent / "link.zarr").n_obs == 5


@pytest.mark.parametrize("read", [DataFile, read_data_file])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "cells.h5ad")
    with pytest.raises(DataFileError, match="cells.h5ad` is a pipe, a socket or a device"):
        read(tmp_path / "cells.h5ad")
    require_plain(tmp_path / "absent")


class TestStates:
    """What tells a file from what it was."""

    @pytest.fixture(params=["h5ad", "zarr"])
    def opened(self, path, request):
        if request.param == "zarr":
            ad.read_h5ad(path).write_zarr(path.with_suffix(".zarr"))
        file = DataFile(path.with_suffix(f".{request.param}"))
        yield file
        file.close()

    def part(self, opened):
        path = opened.path
        return path if path.endswith(".h5ad") else f"{path}/X/data/c/0"

    def test_untouched(self, opened):
        opened.require_unchanged()

    @pytest.mark.parametrize("change", ["written", "written, with the time put back", "replaced", "removed"])
    def test_changes(self, opened, change):
        part = self.part(opened)
        before = os.stat(part)  # noqa: PTH116
        with open(part, "rb") as handle:  # noqa: PTH123
            content = bytearray(handle.read())
        content[-1] ^= 1
        if change == "replaced":
            with open(f"{part}.new", "wb") as handle:  # noqa: PTH123
                handle.write(content)
            os.replace(f"{part}.new", part)  # noqa: PTH105
        elif change == "removed":
            os.unlink(part)  # noqa: PTH108
        else:
            with open(part, "r+b") as handle:  # noqa: PTH123
                handle.write(content)
        if change.endswith("put back"):
            os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(DataFileError, match="changed while it was read, .*Nothing was written"):
            opened.require_unchanged()

    def test_another_chunk(self, opened):
        if opened.path.endswith(".zarr"):
            with open(f"{opened.path}/X/data/c/9", "wb") as handle:  # noqa: PTH123
                handle.write(b"x")
            with pytest.raises(DataFileError, match="changed while it was read"):
                opened.require_unchanged()

    def test_permissions_and_names_are_no_content(self, opened):
        part = self.part(opened)
        os.chmod(part, 0o600 if os.stat(part).st_mode & 0o077 else 0o644)  # noqa: PTH101, PTH116
        opened.require_unchanged()
        os.link(part, f"{opened.path}.other")
        opened.require_unchanged()

    def test_states(self, path):
        before = state_of(path.stat())
        assert is_same_state(before, state_of(path.stat()))
        assert not is_same_state(before, state_of((path.parent / "victim.h5ad").stat()))
