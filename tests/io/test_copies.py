"""Copies of files of every release of anndata."""

import shutil
import threading

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from tests.anndata_files import COPIED, FILES, RELEASES, read, same_values, unpack

import sctab
from sctab.cli._files import read_data
from sctab.io._copies import Results, copy_data, open_copy
from sctab.io._data_file import DataFile

COPIED += [("0.6.22", "csc.h5ad", ".zarr"), ("0.7.8", "csc.h5ad", ".zarr")]
COPIED += [
    (release, name, suffix) for release in ("0.10.9", "0.13.4") for name, suffix in (("csr.h5ad", ".zarr"), ("csr.zarr", ".h5ad"))
]
"""Copies in the format of the input, and in the other one; a file whose name of a column anndata does not write any more is below."""


LABELS = ["B cell", "natural killer cell", "CD14-positive monocyte"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anndata")
    for release in RELEASES:
        unpack(release, folder / release)
    return folder


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def check_copy(path, target):
    """A copy with results is what anndata reads of the file, and the results."""
    before, file = read(path), DataFile(path)
    copy_data(file, target)
    with open_copy(target) as root:
        results = Results(root, file.n_obs)
        results.add_column("label", categories=["a", "b"])
        results.write("label", 0, np.arange(file.n_obs) % 2)
        results.add_column("cell_type", categories=["other"])
        results.write("cell_type", 0, np.zeros(file.n_obs, dtype=np.int8))
        results.add_column("confidence")
        results.write("confidence", 0, np.ones(file.n_obs, dtype=np.float32))
        results.add_matrix("X_latent", 2)
        results.add_run("run", {"model": "m"})
        results.remove("obs", "donor_id")
    after = read(target)
    assert after.uns["run"]["model"] == "m"
    assert set(before.uns) < set(after.uns)
    assert set(before.obsm) < set(after.obsm)
    assert list(after.obs["label"]) == ["a", "b"] * (file.n_obs // 2)
    assert list(after.obs["cell_type"]) == ["other"] * file.n_obs
    kept = [column for column in before.obs if column not in {"cell_type", "donor_id"}]
    assert [column for column in after.obs if column not in {"cell_type", "label", "confidence"}] == kept
    for column in kept:
        same_values(before.obs[column], after.obs[column])
    for column in before.var:
        same_values(before.var[column], after.var[column])
    assert list(after.var_names) == list(before.var_names)
    np.testing.assert_array_equal(dense(after.X), dense(before.X))
    np.testing.assert_array_equal(dense(after.raw.X), dense(before.raw.X))
    file.close()


class TestCopies:
    @pytest.mark.parametrize(("release", "name", "suffix"), COPIED)
    def test_of_each_release(self, folder, tmp_path, release, name, suffix):
        check_copy(folder / release / name, tmp_path / f"copy{suffix}")

    def test_what_anndata_does_not_write_any_more(self, folder, tmp_path):
        with pytest.raises(sctab.DataFileError, match=r"cannot be written as .zarr.*Write a copy in the format of the input"):
            copy_data(DataFile(folder / "0.7.8" / "csr.h5ad"), tmp_path / "copy.zarr")
        with pytest.raises(sctab.DataFileError, match=r"cannot be written as anndata does now.*Write a table"):
            copy_data(DataFile(folder / "0.6.22" / "csr.h5ad"), tmp_path / "copy.h5ad")

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_of_strings_of_fixed_length(self, folder, tmp_path, suffix):
        path = tmp_path / "fixed.h5ad"
        shutil.copy(folder / "0.10.9" / "csc.h5ad", path)
        with h5py.File(path, "r+") as file:

            def fix(_, elem):
                for key, value in list(elem.attrs.items()):
                    if isinstance(value, str):
                        elem.attrs[key] = np.bytes_(value)
                    elif isinstance(value, np.ndarray) and value.dtype == object:
                        elem.attrs[key] = np.array([item.encode() for item in value], dtype="S40")

            fix("", file)
            file.visititems(fix)
        check_copy(path, tmp_path / f"copy{suffix}")


class TestWhole:
    @pytest.mark.parametrize(("release", "name"), FILES)
    def test_as_training_reads_it(self, folder, release, name):
        expected = read(folder / release / name)
        pd.testing.assert_frame_equal(read_data(folder / release / name).obs, expected.obs)


@pytest.fixture(scope="module")
def model():
    """A model that knows a covariate."""
    rng = np.random.default_rng(0)
    symbols = ["CD3D", "MS4A1", "NKG7", "LYZ", "GNLY", "CD79A", "CD14", "FCGR3A", "ACTB", "B2M"]
    obs = {"cell_type": pd.Categorical(np.resize(LABELS, 60)), "partly_known": pd.Categorical(np.resize(["x", "y"], 60))}
    counts = sparse.csr_matrix(rng.poisson(2, size=(60, 10)).astype(np.float32) + 1)
    reference = ad.AnnData(counts, obs=pd.DataFrame(obs, index=[f"r{i}" for i in range(60)]), var=pd.DataFrame(index=symbols))
    sctab.model.LinearClassifier.setup_anndata(reference, "cell_type", categorical_covariate_keys=["partly_known"])
    model = sctab.model.LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    return model


def test_other_threads_can_use_h5py_while_a_store_is_written(tmp_path, monkeypatch):
    """A copy that holds the lock of h5py while it waits for a thread of Zarr hangs if that thread collects an HDF5 file as garbage."""
    path, other = tmp_path / "a.h5ad", tmp_path / "b.h5ad"
    ad.AnnData(
        np.ones((4, 3), dtype=np.float32), obs=pd.DataFrame({"batch": pd.Categorical(list("xyxy"))}, index=list("abcd"))
    ).write_h5ad(path)
    shutil.copyfile(path, other)
    set_attribute, n_written = zarr.core.attributes.Attributes.__setitem__, []
    with h5py.File(other) as opened:

        def set_beside_a_reader(attributes, name, value):
            reader = threading.Thread(target=lambda: opened.attrs.get(name), daemon=True)
            reader.start()
            reader.join(timeout=60)
            assert not reader.is_alive(), f"h5py is locked while `{name}` is written"
            n_written.append(name)
            set_attribute(attributes, name, value)

        monkeypatch.setattr(zarr.core.attributes.Attributes, "__setitem__", set_beside_a_reader)
        copy_data(DataFile(path), tmp_path / "a.zarr")
    assert n_written
    assert read(tmp_path / "a.zarr").obs["batch"].tolist() == list("xyxy")
