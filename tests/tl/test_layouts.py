"""Files of all releases of anndata, and of other tools, through every entry point: what is read, and what annotated copies hold."""

import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.anndata_files import COPIED, RELEASES, read, same_values, unpack

import sctab

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
