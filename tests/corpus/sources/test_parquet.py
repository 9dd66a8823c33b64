"""The published store, written small, against what was written."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import sparse
from tests.studies import IDS, SYMBOLS, TYPES

from sctab.corpus import CorpusConfig, SourceEntry, build as build_corpus, plan as plan_corpus
from sctab.corpus.sources._open import complete, open_source
from sctab.corpus.sources._parquet import ParquetStore
from sctab.data import Content, normalise
from sctab.data._source import choose_source
from sctab.errors import DataFileError, SettingError
from sctab.io._rows import RowReader
from sctab.model import LinearClassifier

SIZES = {"train": 60, "val": 24, "test": 36}
DONORS = ("A", "B", "C", "D", "E", "F")
OF_SPLIT = {"train": [0, 1, 2], "val": [3], "test": [4, 5]}


@pytest.fixture
def cells(rng):
    """Counts, and codes of donors and types, of each split."""
    found = {}
    for split, n in SIZES.items():
        counts = rng.poisson(1.5, size=(n, len(SYMBOLS)))
        counts[:, 0] += 1
        found[split] = counts, np.resize(OF_SPLIT[split], n), np.arange(n) % len(TYPES)
    return found


@pytest.fixture
def store(cells, tmp_path):
    """The store: eleven files of training cells, so that the tenth comes after the ninth, in row groups of four cells."""
    path = tmp_path / "merlin_cxg-log1p"
    (path / "categorical_lookup").mkdir(parents=True)
    (path / "norm").mkdir()
    for name, labels in {"cell_type": sorted(TYPES), "donor_id": DONORS, "dataset_id": ["S"]}.items():
        pd.DataFrame({"label": labels}).to_parquet(path / "categorical_lookup" / f"{name}.parquet")
    pd.DataFrame({"feature_id": IDS, "feature_name": SYMBOLS}).to_parquet(path / "var.parquet")
    for split, (counts, donors, types) in cells.items():
        (path / split).mkdir()
        (path / split / "_metadata").write_bytes(b"of all files")
        values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
        whole = {
            "X": pa.array(list(values), type=pa.list_(pa.float32())),
            "cell_type": types,
            "donor_id": donors,
            "dataset_id": np.zeros(len(types), dtype=np.int64),
            "tech_sample": donors,
            "is_primary_data": types > 0,
        }
        for number, cells_of in enumerate(np.array_split(np.arange(len(types)), 11 if split == "train" else 1)):
            table = pa.table(whole).slice(cells_of[0], len(cells_of))
            pq.write_table(table, path / split / f"part.{number}.parquet", row_group_size=4)
    return path


@pytest.fixture
def declared(store):
    return {
        "sources": [str(store)],
        "labels_key": "cell_type",
        "donor_key": "donor_id",
        "dataset_key": "dataset_id",
        "split": {"by": "declared"},
    }


class TestReading:
    def test_rows_in_order(self, store, cells):
        counts = np.concatenate([of_split[0] for of_split in cells.values()])
        expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
        source = ParquetStore(str(store))
        assert (source.n_obs, source.n_vars) == expected.shape
        rows = RowReader(source.X)
        for start, stop in ((0, 120), (3, 5), (0, 0), (55, 66), (119, 120), (4, 8)):
            np.testing.assert_array_equal(rows.read(start, stop).toarray(), expected[start:stop])
        assert source.names(59, 61) == ["train-59", "validation-0"]
        assert list(source.var["feature_name"]) == list(SYMBOLS)

    def test_columns(self, store, cells):
        keys = ["cell_type", "tech_sample", "is_primary_data", "split", "mood"]
        source = ParquetStore(str(store), keys)
        assert source.obs_columns == ["cell_type", "donor_id", "dataset_id", "tech_sample", "is_primary_data", "split"]
        assert list(source.obs) == keys[:4]
        types = np.concatenate([of_split[2] for of_split in cells.values()])
        donors = np.concatenate([of_split[1] for of_split in cells.values()])
        assert list(source.obs["cell_type"]) == [sorted(TYPES)[code] for code in types]
        assert list(source.obs["tech_sample"].astype(str)) == [str(code) for code in donors]  # without a lookup
        assert list(source.obs["split"]) == ["train"] * 60 + ["validation"] * 24 + ["test"] * 36

    def test_what_it_holds(self, store):
        source, _ = choose_source(open_source(SourceEntry(str(store))))
        assert source.content.content is Content.LOG1P
        assert not source.content.note

    def test_splits_are_declared_by_default(self, store):
        assert complete(SourceEntry(str(store))).split_key == "split"
        assert complete(SourceEntry(str(store), split_key="tech_sample")).split_key == "tech_sample"
        assert complete(SourceEntry("a.h5ad")).split_key is None

    def test_its_state(self, store):
        before = ParquetStore(str(store)).fingerprint()
        assert ParquetStore(str(store)).fingerprint() == before
        pq.write_table(pq.read_table(store / "val" / "part.0.parquet"), store / "val" / "part.0.parquet")
        assert ParquetStore(str(store)).fingerprint() != before


def test_a_corpus_of_it(store, declared, cells, tmp_path):
    pytest.importorskip("annbatch")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(declared | {"sources": [store.name]}))
    planned = plan_corpus(tmp_path / "c.yaml")
    assert planned.splits_table()["cells"].tolist() == list(SIZES.values())
    corpus = build_corpus(tmp_path / "c.yaml", tmp_path / "c", shard_size=17)
    assert corpus.verify() == []
    assert corpus.features.ids == IDS
    first = 0
    from anndata.io import read_elem

    for split, (counts, donors, types) in zip(("train", "validation", "test"), cells.values(), strict=True):
        obs = corpus.obs(split)
        X = sparse.vstack([read_elem(group["X"]) for group in corpus.collection(split)], format="csr").toarray()
        rows = obs["row"].to_numpy() - first
        assert sorted(rows) == list(range(len(counts)))
        np.testing.assert_allclose(X, (counts / counts.sum(axis=1, keepdims=True) * 1e4)[rows], rtol=1e-5)
        assert list(obs["label"]) == [sorted(TYPES)[code] for code in types[rows]]
        assert list(obs["donor"]) == [f"S/{DONORS[code]}" for code in donors[rows]]
        first += len(counts)


def test_a_model_learns_it(store, declared, cells, tmp_path):
    corpus = build_corpus(CorpusConfig.of(declared), tmp_path / "corpus")
    model = LinearClassifier.from_corpus(corpus, n_top_genes="all")
    model.train(calibrate=False, max_epochs=2, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    assert model.spec.features.ids == IDS
    validation = model.spec.training["validation"]
    assert (validation["by"], validation["n_train"], validation["n_validation"]) == ("corpus", SIZES["train"], SIZES["val"])
    losses = model.history["train_loss"]["train_loss"]
    assert losses.iloc[1] < losses.iloc[0]
    # What a network gets is what the store has: the logarithm of counts per 10,000.
    values = normalise(corpus.to_anndata("test").X, model.spec.normalization).toarray()
    counts = cells["test"][0]
    stored = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(np.sort(values.sum(axis=1)), np.sort(stored.sum(axis=1)), rtol=1e-5)


class TestRefusals:
    def test_no_genes(self, store, declared):
        (store / "var.parquet").unlink()
        with pytest.raises(DataFileError, match=r"log1p` has no `var.parquet`, which names its genes"):
            plan_corpus(CorpusConfig.of(declared))

    def test_no_cells(self, store):
        for file in store.glob("*/part.*"):
            file.unlink()
        with pytest.raises(DataFileError, match="holds no cells"):
            ParquetStore(str(store))

    def test_no_values(self, store):
        file = store / "train" / "part.0.parquet"
        pq.write_table(pq.read_table(file).drop_columns("X"), file)
        with pytest.raises(DataFileError, match=r"part.0.parquet` has no column `X`"):
            ParquetStore(str(store))

    def test_another_number_of_values(self, store):
        pd.DataFrame({"feature_name": SYMBOLS[:9]}).to_parquet(store / "var.parquet")
        with pytest.raises(DataFileError, match=r"another number of values than the 9 genes of `var.parquet`"):
            ParquetStore(str(store)).X[0:3]

    def test_a_lookup_that_is_too_short(self, store):
        pd.DataFrame({"label": ["B cell"]}).to_parquet(store / "categorical_lookup" / "cell_type.parquet")
        with pytest.raises(DataFileError, match="cannot be read as a store of Parquet files: codes need to be"):
            ParquetStore(str(store), ["cell_type"])

    def test_a_damaged_file(self, store):
        (store / "val" / "part.0.parquet").write_bytes(b"no parquet")
        with pytest.raises(DataFileError, match="cannot be read as a store of Parquet files"):
            ParquetStore(str(store))

    def test_a_filter_of_another_kind(self, declared):
        with pytest.raises(SettingError, match="`obs_filter` is for SOMA experiments and the Census only"):
            plan_corpus(CorpusConfig.of(declared | {"obs_filter": "tissue == 'lung'"}))
