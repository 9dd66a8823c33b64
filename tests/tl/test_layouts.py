"""Files of all releases of anndata, and of other tools, through every entry point: what is read, and what annotated copies hold."""

import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.anndata_files import FILES, RELEASES, read, unpack

import sctab
from sctab.cli._files import read_data
from sctab.io._copies import Results, copy_data, open_copy
from sctab.io._data_file import DataFile

COPIED = [(release, name, Path(name).suffix) for release, name in FILES if (release, name) != ("0.6.22", "csr.h5ad")]
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


def same_values(one, other):
    """Equal values, missing ones too; an HDF5 file and a Zarr store give strings of different types."""
    known = one.notna().to_numpy()
    np.testing.assert_array_equal(known, other.notna().to_numpy())
    assert list(one.index) == list(other.index)
    assert list(one[known].astype(object)) == list(other[known].astype(object))


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
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    return model


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize("release", ["0.6.22", "0.7.8", "0.8.0", "0.13.4"])
def test_annotation_of_files_is_that_of_anndata(folder, tmp_path, model, release):
    path = folder / release / "csc.h5ad"
    expected = read(path)
    sctab.tl.annotate(expected, model)
    done = sctab.tl.annotate_files(path, model, output=[tmp_path / "labels.csv", tmp_path / "copy.h5ad"])
    table = pd.read_csv(tmp_path / "labels.csv", index_col=0)
    copy = read(tmp_path / "copy.h5ad")
    assert list(table.index) == list(copy.obs_names) == list(expected.obs_names)
    assert list(table["sctab_label"]) == list(copy.obs["sctab_label"]) == list(expected.obs["sctab_label"])
    assert list(done.runs[str(path)]["warnings"]) == list(expected.uns["sctab"]["warnings"])
    assert not any("does not know" in note for note in done.runs[str(path)]["warnings"])
    same_values(copy.obs["partly_known"], expected.obs["partly_known"])


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize("name", ["csc.h5ad", "csr.zarr"])
def test_cells_of_a_corpus_are_those_of_anndata(folder, tmp_path, name):
    paths = [folder / release / name for release in RELEASES if (Path(folder / release / name)).exists() and release != "0.6.22"]
    sources = []
    for number, path in enumerate(paths):
        place = tmp_path / f"study{number}{path.suffix}"
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
        sources.append({"path": str(place), "labels_key": "cell_type", "donor_key": "donor_id", "assay_key": "partly_known"})
    plan = sctab.corpus.plan(sctab.corpus.CorpusConfig.of({"sources": sources, "features": "union"}))
    assert plan.labels == tuple(sorted(LABELS))
    for number, path in enumerate(paths):
        obs = read(path).obs
        of_source = plan.cells.source == number
        rows = plan.cells.row[of_source]
        for column, key in (("label", "cell_type"), ("assay", "partly_known")):
            codes = plan.cells.codes[column][of_source]
            found = [plan.cells.names[column][code] if code >= 0 else None for code in codes]
            expected = [None if pd.isna(value) else str(value) for value in obs[key].iloc[rows]]
            assert found == expected
        donors = [plan.cells.names["donor"][code] for code in plan.cells.codes["donor"][of_source]]
        assert donors == [f"study{number}/{donor}" for donor in obs["donor_id"].iloc[rows]]


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
def test_copies_of_upper_case_names(folder, tmp_path, model):
    for name in ("A.H5AD", "b.h5ad"):
        shutil.copy(folder / "0.13.4" / "csc.h5ad", tmp_path / name)
    sctab.tl.annotate_files([tmp_path / "A.H5AD", tmp_path / "b.h5ad"], model, output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A.h5ad", "b.h5ad"]
    assert "sctab_label" in ad.read_h5ad(tmp_path / "out" / "A.h5ad").obs
