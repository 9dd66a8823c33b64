"""What one run writes."""

import json
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import MaxAbsScaler
from tests.benchmark.conftest import OFFLINE
from tests.reference import LABEL_MAPS, make_reference, with_labels_of_authors

from sctab import DataFileError, SettingError
from sctab.benchmark import read_config
from sctab.benchmark._runs import plan
from sctab.benchmark._worker import main
from sctab.corpus import CorpusConfig, build


@pytest.fixture
def do(write_config, tmp_path):
    """Do one run here, without a process of its own, and give its tables."""

    def run(entry, kind="peers", **task):
        config = read_config(write_config(**{"peers": [], kind: [entry]} | ({"tasks": [task]} if task else {})))
        request = plan(config)[-1].request(config, Path(sys.executable))
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        main(folder)
        scores = pd.read_parquet(folder / "scores.parquet").set_index(["metric", "group"])["value"]
        return scores, json.loads((folder / "summary.json").read_text(encoding="utf-8")), folder

    return run


def test_logistic_regression_is_that_of_scikit_learn(do, folder, task):
    scores, summary, run = do(OFFLINE, **task, group_key="donor_id")
    cells = ad.read_h5ad(folder / "cells.h5ad")
    counts = cells.X.toarray().astype(float)
    values = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    test, labels = (cells.obs["donor_id"] == "donor_3").to_numpy(), cells.obs["cell_type"].astype(str).to_numpy()
    scaler = MaxAbsScaler().fit(values[~test])
    model = LogisticRegression(max_iter=2000).fit(scaler.transform(values[~test]), labels[~test])
    expected = model.predict(scaler.transform(values[test]))
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert predictions["predicted"].tolist() == expected.tolist()
    assert predictions["truth"].tolist() == labels[test].tolist()
    assert scores["macro_f1", ""] == pytest.approx(f1_score(labels[test], expected, average="macro"))
    assert scores["macro_f1", "donor_id=donor_3"] == scores["macro_f1", ""]
    probabilities = model.predict_proba(scaler.transform(values[test]))
    assert scores["cross_entropy", ""] == pytest.approx(log_loss(labels[test], probabilities), rel=1e-3)
    assert {key: summary[key] for key in ("n_reference", "n_query", "n_donors")} == {
        "n_reference": 180,
        "n_query": 60,
        "n_donors": 3,
    }
    assert 5e7 < summary["peak_memory"] < 2e9
    assert summary["seconds"] > 0


def test_a_model_learns_and_leaves_its_curves(do):
    scores, summary, run = do({"name": "linear", "train": {"max_epochs": 3}}, kind="models")
    assert 0 < scores["macro_f1", ""] <= 1
    curves = pd.read_parquet(run / "history.parquet")
    assert {"train_loss", "validation_loss", "validation_macro_f1"} <= set(curves["curve"])
    assert curves.loc[curves["curve"] == "validation_loss", "epoch"].nunique() == 3
    assert summary["n_parameters"] == 60 * 3 + 3
    assert summary["kept"] is None


def test_auto_says_which_it_kept_and_has_no_size(do):
    entry = {"name": "auto", "model": {"candidates": ["linear"]}, "train": {"max_epochs": 2}}
    scores, summary, run = do(entry, kind="models")
    assert 0 < scores["macro_f1", ""] <= 1
    assert summary["kept"] == "linear"
    assert summary["n_parameters"] is None
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert predictions["confidence"].between(1 / 3, 1).all()


def test_types_that_the_reference_lacks_are_not_scored_and_peers_get_shared_genes(do, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # what is exchanged lies in the folder of the run
    task = {"name": "two", "reference": "cells.h5ad", "query": "others.h5ad", "labels_key": "cell_type", "split": "dataset"}
    scores, summary, run = do(OFFLINE, **task)
    assert scores["n_cells", ""] == 40
    assert not [path for path in run.iterdir() if path.is_dir()]
    assert summary["n_query"] == 60
    assert set(pd.read_parquet(run / "predictions.parquet")["truth"]) == {"B cell", "T cell"}
    assert scores["n_reference_cells", "type=B cell"] == 80


@pytest.mark.parametrize("form", LABEL_MAPS)
def test_a_label_map_decides_what_is_corrected(do, task, tmp_path, form):
    """`DC2` is a myeloid dendritic cell by its id alone; cells of both are the same."""
    cells = with_labels_of_authors(make_reference())
    names = cells.obs["cell_type"].astype(object)
    is_coarse = (names == "DC2") & (np.random.default_rng(0).random(cells.n_obs) < 0.5)
    cells.obs["cell_type"] = names.mask(is_coarse, "myeloid dendritic cell")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "labels.tsv").write_text(LABEL_MAPS[form])
    scores, _, run = do(OFFLINE, **task | {"reference": str(tmp_path / "cells.h5ad"), "label_map": str(tmp_path / "labels.tsv")})
    found = pd.read_parquet(run / "predictions.parquet")
    is_subtype = (found["truth"] == "myeloid dendritic cell") & (found["predicted"] == "DC2")
    assert is_subtype.any()
    corrected = found["predicted"].mask(is_subtype, found["truth"])
    assert scores["macro_f1_corrected", ""] == pytest.approx(f1_score(found["truth"], corrected, average="macro"))
    assert scores["macro_f1_corrected", ""] > scores["macro_f1", ""]


def test_a_part_of_the_donors(do, task):
    scores, summary, _ = do(OFFLINE, **task, subset={"by": "donor", "fractions": [0.3]})
    assert summary["n_donors"] == 1
    assert summary["n_reference"] == 60
    assert scores["n_cells", ""] == 60


class TestCorpora:
    @pytest.fixture(scope="class")
    @staticmethod
    def corpus(tmp_path_factory):
        """Two files of seven donors each."""
        pytest.importorskip("annbatch")
        folder = tmp_path_factory.mktemp("corpus")
        for seed in (0, 1):
            make_reference(420, seed=seed, n_donors=7).write_h5ad(folder / f"{seed}.h5ad")
        sources = [str(folder / f"{seed}.h5ad") for seed in (0, 1)]
        config = CorpusConfig.of({"sources": sources, "labels_key": "cell_type", "donor_key": "donor_id"})
        return build(config, folder / "blood.corpus")

    @pytest.fixture
    def task(self, corpus):
        return {"name": "corpus", "reference": str(corpus.path), "split": "corpus", "group_key": "dataset"}

    def test_models_learn_training_cells_and_name_test_cells(self, do, corpus, task):
        subset = {"by": "donor", "fractions": [0.5]}
        scores, summary, run = do({"name": "linear", "train": {"max_epochs": 4}}, kind="models", **task, subset=subset)
        assert summary["n_reference"] == len(corpus.subset(0.5)) < corpus.n_obs_of("train")
        assert summary["n_donors"] == corpus.obs("train").iloc[corpus.subset(0.5)]["donor"].nunique()
        test = corpus.to_anndata("test")
        predictions = pd.read_parquet(run / "predictions.parquet")
        assert predictions["truth"].tolist() == test.obs["label"].tolist()
        assert scores["macro_f1", ""] == pytest.approx(f1_score(predictions["truth"], predictions["predicted"], average="macro"))
        assert scores["macro_f1", ""] > 0.5
        assert ("accuracy", f"dataset={test.obs['dataset'].iloc[0]}") in scores.index

    def test_peers_get_the_training_cells(self, do, corpus, task):
        scores, summary, _ = do(OFFLINE, **task)
        assert summary["n_reference"] == corpus.n_obs_of("train")
        assert summary["n_query"] == corpus.n_obs_of("test")
        assert scores["macro_f1", ""] > 0.9

    def test_what_a_corpus_knows_is_not_declared(self, write_config, task):
        with pytest.raises(SettingError, match="`labels_key` is not known"):
            read_config(write_config(tasks=[task | {"labels_key": "cell_type"}]))

    def test_a_directory_that_is_no_corpus(self, write_config, task, tmp_path):
        with pytest.raises(DataFileError, match="corpus"):
            plan(read_config(write_config(tasks=[task | {"reference": str(tmp_path)}])))
