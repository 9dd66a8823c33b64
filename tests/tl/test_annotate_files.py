"""Annotation of files against `tl.annotate` of the same cells in memory."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import anndata as ad
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from tests.reference import make_reference

import sctab
from sctab import (
    DataFileError,
    GeneOverlapError,
    InputValueError,
    KeyNotFoundError,
    OutputError,
    OutputExistsError,
    SctabWarning,
    SettingError,
)
from sctab.data import Normalization, normalise
from sctab.model import DeepEnsemble, LinearClassifier, load_model

pytestmark = pytest.mark.filterwarnings("ignore:.*1 cell has no count:sctab.errors.SctabWarning")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    reference = make_reference()
    sctab.model.SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = sctab.model.SCTAB(reference)
    model.train(calibrate=False, max_epochs=10, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def query():
    """Cells that the model has not seen, one without a count, with much else that has to survive a copy."""
    query = make_reference(300, seed=7)
    dense = query.X.toarray()
    dense[11] = 0
    query.X = sparse.csr_matrix(dense)
    query.raw = query.copy()
    query.layers["doubled"] = 2 * query.X
    query.obs["score"] = np.linspace(0, 1, query.n_obs)
    query.obs["text"] = [f"α {i}" for i in range(query.n_obs)]
    query.obs["flag"] = np.arange(query.n_obs) % 2 == 0
    query.obs["whole"] = pd.array([None, *range(query.n_obs - 1)], dtype="Int64")
    query.obsm["X_pca"] = np.random.default_rng(0).normal(size=(query.n_obs, 3))
    query.obsm["frame"] = pd.DataFrame({"a": np.arange(query.n_obs)}, index=query.obs_names)
    query.obsp["graph"] = sparse.random(query.n_obs, query.n_obs, density=0.01, format="csr", random_state=0)
    query.uns["words"] = np.array(["one", "two"], dtype=object)
    query.uns["nested"] = {"number": 3, "name": "blood", "array": np.eye(2)}
    query.uns["records"] = np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f4")])
    return query


@pytest.fixture(scope="module")
def expected(model_path, query):
    return sctab.tl.annotate(query, model_path, copy=True)


SCTAB = (sys.executable, "-c", "from sctab.cli import main; main()")


def write(adata, path):
    (adata.write_h5ad if path.suffix == ".h5ad" else adata.write_zarr)(path)
    return path


def read(path):
    return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


def assert_same_labels(got, expected, *, key="sctab"):
    columns = [column for column in expected.obs if column.startswith(f"{key}_")]
    pd.testing.assert_frame_equal(got.obs[columns], expected.obs[columns], rtol=0, atol=1e-5)
    probabilities = f"{key}_probabilities"
    pd.testing.assert_frame_equal(got.obsm[probabilities], expected.obsm[probabilities], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.obsm[f"X_{key}"], expected.obsm[f"X_{key}"], rtol=1e-4, atol=1e-5)


def assert_equal(got, expected):
    """All of two AnnData, what the run says of itself apart."""
    assert list(got.obs.columns) == list(expected.obs.columns)
    pd.testing.assert_frame_equal(got.obs, expected.obs)
    pd.testing.assert_frame_equal(got.var, expected.var)
    np.testing.assert_array_equal(_dense(got.X), _dense(expected.X))
    np.testing.assert_array_equal(_dense(got.raw.X), _dense(expected.raw.X))
    for slot in ("layers", "obsm", "obsp"):
        ours, theirs = getattr(got, slot), getattr(expected, slot)
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(_dense(ours[name]), _dense(theirs[name]))
    assert set(got.uns) == set(expected.uns)
    np.testing.assert_array_equal(got.uns["words"], expected.uns["words"])
    np.testing.assert_array_equal(got.uns["records"], expected.uns["records"])
    assert got.uns["nested"]["number"] == 3
    assert got.uns["nested"]["name"] == "blood"
    for part in ("matrix", "matrix_content"):
        assert got.uns["sctab"][part] == expected.uns["sctab"][part]
    assert dict(got.uns["sctab"]["model"]) == expected.uns["sctab"]["model"]
    assert list(got.uns["sctab"]["labels"]["names"]) == list(expected.uns["sctab"]["labels"]["names"])
    assert list(got.uns["sctab"]["warnings"]) == list(expected.uns["sctab"]["warnings"])


def _dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


class TestCopies:
    @pytest.mark.parametrize("target", [".h5ad", ".zarr"])
    @pytest.mark.parametrize("source", [".h5ad", ".zarr"])
    def test_have_all_that_was_there_and_all_that_annotation_adds(self, model_path, query, expected, tmp_path, source, target):
        path = write(query, tmp_path / f"query{source}")
        sctab.tl.annotate_files(path, model_path, output=tmp_path / f"out{target}")
        assert_equal(read(tmp_path / f"out{target}"), expected)
        assert {entry.name for entry in tmp_path.iterdir()} == {f"query{source}", f"out{target}"}

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_of_a_url(self, model_path, query, expected, tmp_path, suffix):
        url = f"memory://cells/query{suffix}"
        if suffix == ".zarr":
            query.write_zarr(zarr.storage.FsspecStore.from_url(url))
        else:
            fsspec.filesystem("memory").pipe(url, write(query, tmp_path / "query.h5ad").read_bytes())
        sctab.tl.annotate_files(url, model_path, output=[tmp_path / "a.zarr", tmp_path / "b.h5ad"])
        for name in ("a.zarr", "b.h5ad"):
            assert_equal(read(tmp_path / name), expected)

    def test_metadata_of_zarr_tells_of_what_was_added(self, model_path, query, tmp_path):
        path = write(query, tmp_path / "query.zarr")
        assert zarr.open_group(str(path), mode="r").metadata.consolidated_metadata is not None
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.zarr")
        assert "obs/sctab_label/codes" in zarr.open_group(str(tmp_path / "out.zarr"), mode="r", use_consolidated=True)

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_results_of_another_model_are_replaced(self, model_path, query, tmp_path, suffix):
        model = load_model(model_path)
        first = sctab.tl.annotate(query, DeepEnsemble.from_members([model, model]), copy=True)
        path = write(first, tmp_path / f"first{suffix}")
        linear = make_reference()
        LinearClassifier.setup_anndata(linear, "cell_type")
        other = LinearClassifier(linear)
        other.train(calibrate=False, max_epochs=3, accelerator="cpu", enable_progress_bar=False)
        sctab.tl.annotate_files(path, other, output=tmp_path / f"out{suffix}")
        got, expected = read(tmp_path / f"out{suffix}"), sctab.tl.annotate(first, other, copy=True)
        assert set(got.obs) == set(expected.obs)
        assert set(got.obsm) == set(expected.obsm)
        pd.testing.assert_frame_equal(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"])

    def test_key_added(self, model_path, query, tmp_path):
        path = write(query, tmp_path / "query.h5ad")
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", key_added="blood")
        got = read(tmp_path / "out.h5ad")
        assert_same_labels(got, sctab.tl.annotate(query, model_path, key_added="blood", copy=True), key="blood")


class TestTables:
    @pytest.mark.parametrize("suffix", [".parquet", ".csv"])
    def test_one_input(self, model_path, query, expected, tmp_path, suffix):
        path = write(query, tmp_path / "query.h5ad")
        done = sctab.tl.annotate_files(path, model_path, output=tmp_path / f"out{suffix}", block_size=70)
        columns = ["sctab_label", "sctab_label_id", "sctab_confidence", "sctab_uncertainty"]
        if suffix == ".parquet":
            table = pd.read_parquet(tmp_path / "out.parquet").set_index("cell").rename_axis(None)
            assert isinstance(table["sctab_label"].dtype, pd.CategoricalDtype)
        else:
            table = pd.read_csv(tmp_path / "out.csv", index_col="cell").rename_axis(None)
        pd.testing.assert_frame_equal(
            table, expected.obs[columns], check_dtype=False, check_categorical=False, check_index_type=False, rtol=1e-6
        )
        labels = expected.obs["sctab_label"].value_counts(dropna=False)
        assert done.labels["n_cells"].to_dict() == pytest.approx(labels.to_dict(), nan_ok=True)
        assert done.outputs == (tmp_path / f"out{suffix}",)

    def test_several_inputs_and_several_outputs(self, model_path, query, expected, tmp_path):
        (tmp_path / "in").mkdir()
        write(query[:100].copy(), tmp_path / "in" / "a.h5ad")
        write(query[100:].copy(), tmp_path / "in" / "b.zarr")
        outputs = [tmp_path / "out.csv", tmp_path / "out.parquet", tmp_path / "copies"]
        done = sctab.tl.annotate_files(tmp_path / "in", model_path, output=outputs)
        for table in (pd.read_csv(outputs[0]), pd.read_parquet(outputs[1])):
            assert list(table["cell"]) == list(query.obs_names)
            assert list(table["file"]) == [str(tmp_path / "in/a.h5ad")] * 100 + [str(tmp_path / "in/b.zarr")] * 200
            assert [label for label in table["sctab_label"].astype(object) if isinstance(label, str)] == [
                label for label in expected.obs["sctab_label"] if isinstance(label, str)
            ]
        assert_same_labels(read(tmp_path / "copies" / "a.h5ad"), expected[:100].copy())
        assert_same_labels(read(tmp_path / "copies" / "b.zarr"), expected[100:].copy())
        assert list(done.runs) == [str(tmp_path / "in/a.h5ad"), str(tmp_path / "in/b.zarr")]
        assert done.labels["n_cells"].sum() == 300

    def test_an_ensemble(self, model_path, query, tmp_path):
        model = load_model(model_path)
        ensemble = DeepEnsemble.from_members([model, model])
        path = write(query, tmp_path / "query.h5ad")
        sctab.tl.annotate_files(path, ensemble, output=[tmp_path / "out.parquet", tmp_path / "out.h5ad"])
        expected = sctab.tl.annotate(query, ensemble, copy=True)
        table = pd.read_parquet(tmp_path / "out.parquet")
        for name in ("sctab_expected_entropy", "sctab_mutual_information"):
            np.testing.assert_array_equal(table[name], expected.obs[name])
        assert_same_labels(read(tmp_path / "out.h5ad"), expected)


WRITINGS = {
    "csc": lambda adata: _with_X(adata, sparse.csc_matrix(adata.X)),
    "dense": lambda adata: _with_X(adata, adata.X.toarray()),
    "float64": lambda adata: _with_X(adata, adata.X.astype(np.float64)),
    "integers": lambda adata: _with_X(adata, adata.X.astype(np.int32)),
    "normalised": lambda adata: _normalised(adata, log=False),
    "log1p": lambda adata: _normalised(adata, log=True),
    "counts in a layer": lambda adata: ad.AnnData(
        X=adata.X.toarray() - 1, obs=adata.obs, var=adata.var, layers={"counts": adata.X}
    ),
    "counts in raw": lambda adata: _scaled_with_raw(adata),
    "permuted genes": lambda adata: adata[:, np.random.default_rng(0).permutation(adata.n_vars)].copy(),
    "Ensembl ids": lambda adata: ad.AnnData(X=adata.X, obs=adata.obs, var=adata.var.set_index("ensembl_id")),
    "halves of genes": lambda adata: _halved(adata),
}


def _with_X(adata, X):
    return ad.AnnData(X=X, obs=adata.obs, var=adata.var)


def _normalised(adata, *, log):
    X = normalise(adata.X, Normalization(target_sum=1e4, log1p=log))
    return _with_X(adata, X)


def _scaled_with_raw(adata):
    new = _with_X(adata, (adata.X.toarray() - 1) / 2)
    new.raw = adata
    return new


def _halved(adata):
    """Every gene represents two features, which have to be summed before the logarithm."""
    first = adata.X.copy()
    first.data = np.floor(first.data / 2)
    X = sparse.hstack([first, adata.X - first]).tocsr()
    var = pd.DataFrame({"symbol": [*adata.var_names] * 2}, index=[f"f{i}" for i in range(2 * adata.n_vars)])
    return ad.AnnData(X=X, obs=adata.obs, var=var)


@pytest.fixture(scope="module")
def plain(query):
    return ad.AnnData(X=query.X, obs=query.obs[["donor_id"]], var=query.var)


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
class TestInvariance:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    @pytest.mark.parametrize("writing", WRITINGS)
    def test_writings(self, model_path, plain, expected, tmp_path, writing, suffix):
        path = write(WRITINGS[writing](plain), tmp_path / f"query{suffix}")
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad")
        assert_same_labels(read(tmp_path / "out.h5ad"), expected)

    @pytest.mark.parametrize("block_size", [1, 7, 64, 299, 5000])
    @pytest.mark.parametrize("batch_size", [3, 512])
    def test_blocks_and_batches(self, model_path, plain, expected, tmp_path, block_size, batch_size):
        path = write(plain, tmp_path / "query.h5ad")
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=block_size, batch_size=batch_size)
        assert_same_labels(read(tmp_path / "out.h5ad"), expected)

    def test_a_layer_that_is_named(self, model_path, query, expected, tmp_path):
        path = write(query, tmp_path / "query.h5ad")
        done = sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", layer="doubled")
        assert done.runs[str(path)]["matrix"] == "layers['doubled']"
        assert_same_labels(read(tmp_path / "out.h5ad"), expected)

    def test_a_covariate(self, query, tmp_path):
        reference = make_reference()
        LinearClassifier.setup_anndata(reference, "cell_type", categorical_covariate_keys=["donor_id"])
        model = LinearClassifier(reference)
        model.train(calibrate=False, max_epochs=20, accelerator="cpu", enable_progress_bar=False)
        path = write(query, tmp_path / "query.h5ad")
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5ad", block_size=37)
        expected = sctab.tl.annotate(query, model, copy=True)
        got = read(tmp_path / "out.h5ad").obsm["sctab_probabilities"]
        np.testing.assert_allclose(got, expected.obsm["sctab_probabilities"], rtol=0, atol=1e-5)


class TestRefusals:
    """A refusal leaves nothing behind."""

    @pytest.fixture
    def path(self, query, tmp_path):
        return write(query, tmp_path / "query.h5ad")

    @pytest.mark.parametrize(
        ("output", "message"),
        [
            ("out.loom", r"is none of `.parquet`, `.csv`, `.h5ad`, `.zarr`"),
            ("s3://bucket/out.zarr", "is a URL. Write to a local path"),
        ],
    )
    def test_output(self, model_path, path, tmp_path, output, message):
        with pytest.raises(OutputError, match=message):
            sctab.tl.annotate_files(path, model_path, output=output if "://" in output else tmp_path / output)
        assert list(tmp_path.iterdir()) == [path]

    def test_no_output(self, model_path, path):
        with pytest.raises(SettingError, match="Nothing would be written"):
            sctab.tl.annotate_files(path, model_path, output=[])

    def test_one_file_for_several_inputs(self, model_path, query, path, tmp_path):
        other = write(query, tmp_path / "other.h5ad")
        with pytest.raises(OutputError, match="is one file, and there are 2 inputs. Provide a directory"):
            sctab.tl.annotate_files([path, other], model_path, output=tmp_path / "out.h5ad")

    def test_same_names(self, model_path, query, path, tmp_path):
        (tmp_path / "more").mkdir()
        other = write(query, tmp_path / "more" / "query.h5ad")
        with pytest.raises(OutputError, match="have the same name"):
            sctab.tl.annotate_files([path, other], model_path, output=tmp_path / "copies")
        sctab.tl.annotate_files([path, other], model_path, output=tmp_path / "table.csv")

    def test_something_is_there(self, model_path, path, tmp_path):
        (tmp_path / "out.csv").write_text("mine")
        with pytest.raises(OutputExistsError, match="already exists"):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv")
        assert (tmp_path / "out.csv").read_text() == "mine"

    @pytest.mark.parametrize(("setting", "value"), [("batch_size", 0), ("block_size", 0), ("precision", "float8")])
    def test_settings(self, model_path, path, tmp_path, setting, value):
        with pytest.raises(SettingError, match=f"`{setting}="):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", **{setting: value})
        assert list(tmp_path.iterdir()) == [path]

    def test_a_bad_input_among_good_ones_is_named_before_cells_are(self, model_path, query, path, tmp_path):
        scaled = query.copy()
        scaled.raw, scaled.X = None, query.X.toarray() - 1
        del scaled.layers["doubled"]
        bad = write(scaled, tmp_path / "scaled.h5ad")
        with pytest.raises(InputValueError, match=r"scaled.h5ad`: `X` holds negative values"):
            sctab.tl.annotate_files([path, bad], model_path, output=tmp_path / "out.csv")
        mouse = query.copy()
        mouse.raw, mouse.var = None, pd.DataFrame(index=[f"ENSMUSG{i:011d}" for i in range(query.n_vars)])
        bad = write(mouse, tmp_path / "mouse.h5ad")
        with pytest.raises(GeneOverlapError, match=r"mouse.h5ad`: The data looks like mouse"):
            sctab.tl.annotate_files([path, bad], model_path, output=tmp_path / "out.csv")
        assert not list(tmp_path.glob("out*"))

    def test_a_layer_that_is_not_there(self, model_path, path, tmp_path):
        with pytest.raises(KeyNotFoundError, match=r"`layer='nothing'` is not in the data"):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", layer="nothing")

    def test_a_file_that_is_damaged_half_way_keeps_what_was_done(self, model_path, query, tmp_path, monkeypatch):
        path = write(query, tmp_path / "query.h5ad")
        read_rows = sctab.io._file_matrix.FileMatrix.__getitem__

        def fails(self, rows):
            if rows == slice(200, 250):  # the fifth block of cells to annotate
                with sctab.io.explains_damage(self._path):
                    raise OSError("Can't synchronously read data")
            return read_rows(self, rows)

        monkeypatch.setattr(sctab.io._file_matrix.FileMatrix, "__getitem__", fails)
        with pytest.raises(DataFileError, match=r"query.h5ad` cannot be read.*damaged") as caught:
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50)
        assert "Finished blocks are kept" in caught.value.__notes__[0]
        monkeypatch.undo()
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50, resume=True)
        assert len(pd.read_csv(tmp_path / "out.csv")) == 300
        assert {entry.name for entry in tmp_path.iterdir()} == {"query.h5ad", "out.csv", ".out.csv.sctab-run"}

    def test_a_full_disk_keeps_what_was_done(self, model_path, path, expected, tmp_path, monkeypatch):
        savez, n_saved = np.savez, []

        def fails(*arguments, **arrays):
            n_saved.append(1)
            if len(n_saved) > 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            savez(*arguments, **arrays)

        monkeypatch.setattr(np, "savez", fails)
        with pytest.raises(OutputError, match="the disk is full. Free some space") as caught:
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=50)
        assert "Resume with `resume=True`" in caught.value.__notes__[0]
        assert len(list((tmp_path / "out.h5ad.parts").glob("part-*.npz"))) == 3
        monkeypatch.undo()
        with pytest.raises(OutputExistsError, match="was interrupted. Resume it"):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=50)
        with pytest.raises(SettingError, match="`block_size` differ"):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=60, resume=True)
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=50, resume=True)
        assert_same_labels(read(tmp_path / "out.h5ad"), expected)

    def test_a_changed_input_is_not_resumed(self, model_path, query, path, tmp_path, monkeypatch):
        monkeypatch.setattr(np, "savez", _fails_after(2, np.savez))
        with pytest.raises(OutputError):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50)
        monkeypatch.undo()
        write(query[::-1].copy(), path)
        with pytest.raises(SettingError, match="`files` differ"):
            sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50, resume=True)
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50, overwrite=True)
        assert list(pd.read_csv(tmp_path / "out.csv")["cell"]) == list(query.obs_names[::-1])


def _fails_after(n, savez):
    saved = []

    def save(*arguments, **arrays):
        saved.append(1)
        if len(saved) > n:
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(*arguments, **arrays)

    return save


def test_finished_blocks_are_not_computed_twice(model_path, query, tmp_path, monkeypatch):
    path = write(query, tmp_path / "query.h5ad")
    monkeypatch.setattr(np, "savez", _fails_after(4, np.savez))
    with pytest.raises(OutputError):
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50)
    monkeypatch.undo()
    rows, read_rows = [], sctab.io._file_matrix.FileMatrix.__getitem__
    monkeypatch.setattr(
        sctab.io._file_matrix.FileMatrix,
        "__getitem__",
        lambda self, at: (rows.append((at.start, at.stop)), read_rows(self, at))[1],
    )
    sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", block_size=50, resume=True)
    assert rows == [(200, 250), (250, 300)]  # nor is the file looked at again to determine what it holds


def test_bfloat16_says_how_far_it_is_off(model_path, query, tmp_path):
    path = write(query, tmp_path / "query.h5ad")
    with pytest.warns(
        SctabWarning, match=r"With `precision='bfloat16'`, probabilities of the first 300 cells differ by at most 0.0"
    ):
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.csv", precision="bfloat16")
    with pytest.warns(SctabWarning, match="`precision='bfloat16'`"):
        annotated = sctab.tl.annotate(query, model_path, precision="bfloat16", copy=True)
    assert annotated.uns["sctab"]["model"]["precision"] == "bfloat16"


@pytest.mark.parametrize("name", ["out.h5ad", "out.parquet"])
def test_killed_three_times_and_resumed(model_path, tmp_path, name):
    """The process is gone without a chance to tidy up; what comes out in the end is what an undisturbed run gives."""
    path = write(make_reference(1500, seed=3), tmp_path / "query.h5ad")
    command = [*SCTAB, "annotate", path, "--model", model_path, "--block-size", 10, "--batch-size", 4]
    command = [*map(str, command), "--accelerator", "cpu"]
    subprocess.run([*command, "--output", tmp_path / f"whole_{name}"], check=True, capture_output=True)

    parts = tmp_path / f"{name}.parts"
    n_before = 0
    for n_blocks in sorted(np.random.default_rng(len(name)).choice(np.arange(1, 140), size=3, replace=False)):
        process = subprocess.Popen([*command, "--output", tmp_path / name, "--resume"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while len(list(parts.glob("part-*.npz"))) < n_blocks:
            assert process.poll() is None, "it was done before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / name).exists()
        n_now = len(list(parts.glob("part-*.npz")))
        assert n_before <= n_now < 150
        n_before = n_now
    subprocess.run([*command, "--output", tmp_path / name, "--resume"], check=True, capture_output=True)
    assert {entry.name for entry in tmp_path.iterdir()} == {"query.h5ad", name, f"whole_{name}"}

    assert _content(tmp_path / name) == _content(tmp_path / f"whole_{name}")


def _content(path):
    """Every byte that a file tells."""
    if path.suffix == ".parquet":
        return path.read_bytes()
    content = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: content.update({name: (dict_of(item), item[()].tobytes() if not _is_text(item) else
                                                                 [*item.asstr()[()].ravel()] if item.ndim else item[()])
                                                           if isinstance(item, h5py.Dataset) else dict_of(item)}))  # fmt: skip
    return content


def dict_of(item):
    return {key: str(value) for key, value in item.attrs.items()}


def _is_text(item):
    return h5py.check_string_dtype(item.dtype) is not None


@pytest.fixture
def with_interrupts():
    """Have processes that are started interruptible, also where this one is not: a shell starts jobs in the background so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("with_interrupts")
@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGINT, "Interrupted"), (signal.SIGTERM, "Stopped")], ids=["at the keyboard", "by a scheduler"]
)
def test_interrupted(model_path, tmp_path, number, message):
    path = write(make_reference(6000, seed=3), tmp_path / "query.h5ad")
    command = [*SCTAB, "annotate", path, "--model", model_path, "--output", tmp_path / "out.csv"]
    process = subprocess.Popen(
        [*map(str, command), "--block-size", "1", "--batch-size", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "500"},
    )
    while not list((tmp_path / "out.csv.parts").glob("part-*.npz")):
        assert process.poll() is None
        time.sleep(0.001)
    for _ in range(3):  # Python loses an interrupt that comes while it finalises an object
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
            break
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"{message}. No output was written. Finished blocks are kept in" in shown
    assert "Resume with `--resume`" in shown
    assert "Traceback" not in shown
    assert {entry.name for entry in tmp_path.iterdir()} == {"query.h5ad", "out.csv.parts"}


@pytest.mark.filterwarnings("ignore:The model stores no profiles:sctab.errors.SctabWarning")
def test_jax_gives_the_same_and_says_so(model_path, query, tmp_path):
    path = write(query, tmp_path / "query.h5ad")
    expected = sctab.tl.annotate(query, model_path, unseen_fdr=0.1, force=True, copy=True)
    got = sctab.tl.annotate(query, model_path, unseen_fdr=0.1, force=True, copy=True, backend="jax")
    sctab.tl.annotate_files(
        path, model_path, output=tmp_path / "out.h5ad", unseen_fdr=0.1, force=True, backend="jax", batch_size=40, block_size=130
    )
    for annotated in (got, ad.read_h5ad(tmp_path / "out.h5ad")):
        run = annotated.uns["sctab"]
        assert (run["model"]["backend"], expected.uns["sctab"]["model"]["backend"]) == ("jax", "torch")
        assert "jax" in run["versions"]
        assert list(annotated.obs["sctab_label"].astype(str)) == list(expected.obs["sctab_label"].astype(str))
        np.testing.assert_allclose(annotated.obs["sctab_unseen"], expected.obs["sctab_unseen"], atol=1e-5)
        for key in ("sctab_probabilities", "X_sctab"):
            np.testing.assert_allclose(annotated.obsm[key], expected.obsm[key], rtol=1e-4, atol=1e-5 if key[0] == "s" else 1e-4)


def test_unfinished_blocks_of_another_backend_are_not_resumed(model_path, query, tmp_path):
    path, output = write(query, tmp_path / "query.h5ad"), tmp_path / "out.csv"
    sctab.tl.annotate_files(path, model_path, output=output)
    with pytest.raises(OutputExistsError):
        sctab.tl.annotate_files(path, model_path, output=output, backend="jax", resume=True)


@pytest.mark.parametrize("annotate", ["annotate", "annotate_files"])
def test_an_unknown_backend_is_refused(model_path, query, tmp_path, annotate):
    path = write(query, tmp_path / "query.h5ad")
    before = query.copy()
    arguments = {"output": tmp_path / "out.csv"} if annotate == "annotate_files" else {}
    with pytest.raises(SettingError, match=r"`backend='tpu'` is unknown. Choose one of: `torch`, `jax`"):
        getattr(sctab.tl, annotate)(path if arguments else query, model_path, backend="tpu", **arguments)
    assert list(query.obs) == list(before.obs)
    assert not (tmp_path / "out.csv").exists()
