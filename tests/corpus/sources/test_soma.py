"""Experiments on disk against what was written to them."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse
from tests.studies import IDS, make_study

from sctab.corpus import CorpusConfig, SourceEntry, build as build_corpus, plan as plan_corpus
from sctab.corpus.building import _build
from sctab.corpus.sources import _soma
from sctab.corpus.sources._open import find_sources, open_source
from sctab.corpus.sources._soma import SomaSource
from sctab.data._source import choose_source
from sctab.errors import DataFileError, KeyNotFoundError, MissingDependencyError, SettingError
from sctab.io._rows import RowReader

soma = pytest.importorskip("tiledbsoma", reason="the extra `census` is not installed")
pa = pytest.importorskip("pyarrow")
STEP = 3
"""Ids of cells and genes are multiples of it: there are gaps, as after a filter."""


def write_experiment(path, adata, layers, *, measurement="RNA", names="obs_id"):
    """Write an AnnData, with cells in another order than that of their ids."""
    order = np.random.default_rng(0).permutation(adata.n_obs)
    ids = np.arange(adata.n_obs) * STEP
    obs = adata.obs.assign(soma_joinid=ids, **{names: adata.obs_names} if names else {})
    var = pd.DataFrame({"soma_joinid": np.arange(adata.n_vars) * STEP, "feature_id": IDS, "feature_name": list(adata.var_names)})
    obs = pa.Table.from_pandas(obs.iloc[order], preserve_index=False)
    var = pa.Table.from_pandas(var, preserve_index=False)
    with soma.Experiment.create(str(path)) as experiment:
        experiment.add_new_dataframe("obs", schema=obs.schema, domain=[[0, 10_000]]).write(obs)
        of_genes = experiment.add_new_collection("ms").add_new_collection(measurement, soma.Measurement)
        of_genes.add_new_dataframe("var", schema=var.schema, domain=[[0, 10_000]]).write(var)
        of_layers = of_genes.add_new_collection("X")
        for name, matrix in layers.items():
            entries = sparse.coo_matrix(matrix)
            array = of_layers.add_new_sparse_ndarray(name, type=pa.float32(), shape=(10_000, 10_000))
            columns = {"soma_dim_0": entries.row * STEP, "soma_dim_1": entries.col * STEP}
            columns = {key: values.astype(np.int64) for key, values in columns.items()}
            array.write(pa.table(columns | {"soma_data": entries.data.astype(np.float32)}))
    return str(path)


@pytest.fixture
def study():
    study = make_study(1)
    study.obs["tissue"] = np.where(np.arange(study.n_obs) // 3 % 2, "blood", "lung")
    return study


@pytest.fixture
def path(study, tmp_path):
    normalised = study.X.multiply(1e4 / study.X.sum(axis=1)).log1p()
    return write_experiment(tmp_path / "atlas.soma", study, {"normalized": normalised, "raw": study.X})


@pytest.fixture
def declared(path):
    return {"sources": [path], "labels_key": "cell_type", "donor_key": "donor_id"}


class TestReading:
    @pytest.mark.parametrize("size", [50, 4096])
    def test_rows_and_columns(self, path, study, size, monkeypatch):
        monkeypatch.setattr("sctab.corpus.sources._soma._CELLS_AT_A_TIME", size)
        source = SomaSource(path, ["cell_type", "donor_id", "mood"])
        assert (source.n_obs, source.n_vars) == study.shape
        assert list(source.layers) == ["raw", "normalized"]  # counts are looked for where they are likely
        assert list(source.var.index) == list(IDS)
        assert list(source.obs) == ["cell_type", "donor_id"]
        assert list(source.obs["cell_type"]) == list(study.obs["cell_type"])
        assert source.names(3, 9) == list(study.obs_names[3:9])
        rows = RowReader(source.layers["raw"])
        for start, stop in ((0, 120), (7, 8), (100, 119)):
            np.testing.assert_array_equal(rows.read(start, stop).toarray(), study.X[start:stop].toarray())
        source.close()

    def test_some_cells(self, path, study):
        source = SomaSource(path, ["tissue"], obs_filter="tissue == 'lung' and is_primary_data == True")
        chosen = np.flatnonzero((study.obs["tissue"] == "lung") & study.obs["is_primary_data"])
        assert source.n_obs == len(chosen)
        np.testing.assert_array_equal(RowReader(source.layers["raw"]).read(0, len(chosen)).toarray(), study.X[chosen].toarray())
        assert source.names(1, 5) == list(study.obs_names[chosen[1:5]])

    @pytest.mark.parametrize("names", ["observation_joinid", None])
    def test_names_of_cells(self, study, tmp_path, names):
        path = write_experiment(tmp_path / "other", study, {"data": study.X}, names=names)
        found = SomaSource(path).names(1, 3)
        assert found == (list(study.obs_names[1:3]) if names else ["3", "6"])

    def test_counts_are_found(self, path):
        source, _ = choose_source(open_source(SourceEntry(path)))
        assert source.name == "layers['raw']"
        with pytest.raises(
            KeyNotFoundError, match="`layer='X'` is not in the data. Available: `layers\\['normalized'\\]`, `layers\\['raw'\\]`"
        ):
            choose_source(open_source(SourceEntry(path)), layer="X")

    def test_a_measurement(self, study, tmp_path):
        path = write_experiment(tmp_path / "other", study, {"data": study.X}, measurement="ADT")
        assert open_source(SourceEntry(path, measurement="ADT")).n_vars == study.n_vars
        with pytest.raises(KeyNotFoundError, match="has no measurement `RNA`. Measurements: `ADT`"):
            open_source(SourceEntry(path))

    def test_its_state(self, path, study):
        before = SomaSource(path).fingerprint()
        assert SomaSource(path).fingerprint() == before
        with soma.Experiment.open(path, "w") as experiment:
            obs = pa.Table.from_pandas(
                study.obs.assign(soma_joinid=np.arange(120) * STEP, obs_id=study.obs_names), preserve_index=False
            )
            experiment.obs.write(obs)
        assert SomaSource(path).fingerprint() != before


class TestCorpora:
    @pytest.fixture(autouse=True)
    def _needs_annbatch(self):
        pytest.importorskip("annbatch")

    @pytest.mark.usefixtures("path")
    def test_an_experiment_beside_a_file(self, study, tmp_path):
        from anndata.io import read_elem

        other = make_study(2)
        other.write_h5ad(tmp_path / "other.h5ad")
        declared = {
            "sources": [{"path": "atlas.soma", "obs_filter": "tissue == 'lung'", "layer": "raw"}, "other.h5ad"],
            "labels_key": "cell_type",
            "donor_key": "donor_id",
        }
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(declared))
        corpus = build_corpus(tmp_path / "c.yaml", tmp_path / "c", shard_size=31)
        assert corpus.verify() == []
        assert corpus.n_obs == 180
        expected = [study.X[np.flatnonzero(study.obs["tissue"] == "lung")].toarray(), other.X.toarray()]
        for split in ("train", "validation", "test"):
            X = sparse.vstack([read_elem(group["X"]) for group in corpus.collection(split)], format="csr").toarray()
            obs = corpus.obs(split)
            for cell, source, row in zip(X, obs["source"], obs["row"], strict=True):
                np.testing.assert_array_equal(cell, expected[source][row])

    def test_the_census(self, path, study, tmp_path, monkeypatch):
        asked = []

        def open_soma(*, census_version, tiledb_config):
            asked.append(census_version)
            return soma.Collection.open(census)

        census = str(tmp_path / "census")
        with soma.Collection.create(census) as root:
            data = root.add_new_collection("census_data")
            data.set("homo_sapiens", soma.Experiment.open(path), use_relative_uri=False)
        monkeypatch.setattr("cellxgene_census.open_soma", open_soma)
        source = open_source(SourceEntry("census://2024-07-01/homo_sapiens"))
        assert (source.n_obs, asked) == (study.n_obs, ["2024-07-01"])
        source.close()
        declared = {"sources": ["census://2024-07-01/homo_sapiens"], "labels_key": "cell_type", "donor_key": "donor_id"}
        assert build_corpus(CorpusConfig.of(declared), tmp_path / "c").verify() == []
        with pytest.raises(DataFileError, match="The Census of 2024-07-01 has no `mus_musculus`. Available: `homo_sapiens`"):
            open_source(SourceEntry("census://2024-07-01/mus_musculus"))
        with pytest.raises(DataFileError, match="is not a valid Census source. Provide release and organism"):
            open_source(SourceEntry("census://2024-07-01"))


class TestCredentials:
    ADDRESS = "https://me:secret@example.org/atlas?sig=hidden"

    @pytest.fixture(autouse=True)
    def _opens_the_experiment(self, path, monkeypatch):
        opens = _soma._open_experiment
        monkeypatch.setattr(_soma, "_open_experiment", lambda address: opens(path if address == self.ADDRESS else address))

    @staticmethod
    def is_clean(shown):
        return "example.org/atlas" in shown and "secret" not in shown and "hidden" not in shown

    def test_a_source_forgets_them(self):
        source = open_source(SourceEntry(self.ADDRESS))
        assert self.is_clean(source.path)
        assert self.is_clean(str(source.fingerprint()))
        assert source.names(0, 1)

    @pytest.mark.parametrize(
        "options", [{"measurement": "ATAC"}, {"obs_filter": "mood == 'good'"}, {"obs_filter": "tissue == 'heart'"}]
    )
    def test_errors_do_not_tell_them(self, options):
        with pytest.raises((KeyNotFoundError, SettingError)) as caught:
            open_source(SourceEntry(self.ADDRESS, **options))
        assert self.is_clean(str(caught.value))

    def test_nor_where_nothing_is_there(self):
        with pytest.raises(DataFileError, match=r"`file:///nothing/here` is in none of the formats"):
            open_source(SourceEntry("file:///nothing/here?sig=hidden"))
        with pytest.raises(DataFileError, match=r"`census://2024-07-01` is not a valid Census source"):
            open_source(SourceEntry("census://me:secret@2024-07-01"))

    def test_a_corpus_does_not_keep_them(self, tmp_path, monkeypatch):
        pytest.importorskip("annbatch")
        declared = CorpusConfig.of({"sources": [self.ADDRESS], "labels_key": "cell_type", "donor_key": "donor_id"})
        assert self.is_clean(str(plan_corpus(declared).sources_table().index[0]) + " example.org/atlas")
        monkeypatch.setattr(_build, "describe", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_corpus(declared, tmp_path / "c")
        monkeypatch.undo()
        self._written(tmp_path / "c.unfinished")

    def test_a_finished_corpus_does_not_keep_them(self, tmp_path):
        pytest.importorskip("annbatch")
        declared = {"sources": [self.ADDRESS], "labels_key": "cell_type", "donor_key": "donor_id"}
        corpus = build_corpus(CorpusConfig.of(declared), tmp_path / "c")
        self._written(tmp_path / "c")
        assert self.is_clean(json.dumps(corpus.manifest["sources"]))

    def _written(self, folder):
        content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
        assert b"example.org/atlas" in content
        assert b"secret" not in content
        assert b"hidden" not in content


class TestRefusals:
    @pytest.mark.parametrize("asked", ["mood == 'good'", "tissue = = 'lung'", "is_primary_data > 'yes'", "tissue == 3"])
    def test_filters_that_make_no_sense(self, declared, asked):
        with pytest.raises(SettingError, match=r"`obs_filter: .*` cannot be applied: .*. Columns: `cell_type`"):
            plan_corpus(CorpusConfig.of(declared | {"obs_filter": asked}))

    def test_filters_that_leave_nothing(self, declared):
        with pytest.raises(SettingError, match="matches no cell. Relax it"):
            plan_corpus(CorpusConfig.of(declared | {"obs_filter": "tissue == 'heart'"}))

    def test_what_is_no_experiment(self, path):
        with pytest.raises(DataFileError, match="is neither `.h5ad` nor `.zarr` nor a SOMA experiment"):
            open_source(SourceEntry(f"{path}/ms"))
        with pytest.raises(DataFileError, match="file:///nothing/here` is neither"):
            open_source(SourceEntry("file:///nothing/here"))

    def test_damage(self, path):
        for file in [file for name in ("__fragments", "__commits") for file in (Path(path) / "obs" / name).rglob("*")]:
            if file.is_file():
                file.write_bytes(b"")
        with pytest.raises(DataFileError, match="cannot be read as a SOMA experiment"):
            SomaSource(path)

    def test_a_library_that_is_not_there(self, path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tiledbsoma", None)
        assert find_sources(path) == [path]
        with pytest.raises(MissingDependencyError, match=r"needs `tiledbsoma`, which is not installed.*sctab\[census\]"):
            open_source(SourceEntry(path))
