"""Training from a corpus on disk."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback
from tests.reference import TYPES, make_reference

from sctab import GeneOverlapError, KeyNotFoundError, LabelError, SctabWarning, SettingError
from sctab.corpus import Corpus, CorpusConfig, build
from sctab.metrics import macro_f1
from sctab.model import (
    SCTAB,
    AutoClassifier,
    Choice,
    DeepEnsemble,
    LinearClassifier,
    MLPClassifier,
    SCDeepCluster,
    SearchSpace,
    XGBoostClassifier,
    new_model,
)
from sctab.train import CorpusReference, _streaming
from sctab.tuning import Settings, tune_from_corpus
from sctab.tuning._task import make_task

QUICK = {"batch_size": 64, "accelerator": "cpu", "enable_progress_bar": False}
PROGRAM = """
import json, sys
from sctab.model import SCTAB, LinearClassifier

if __name__ == "__main__":
    model_class = {"linear": LinearClassifier, "sctab": SCTAB}[sys.argv[2]]
    settings = {"n_d": 8, "n_a": 8, "virtual_batch_size": 32} if sys.argv[2] == "sctab" else {}
    model = model_class.from_corpus(sys.argv[1], n_top_genes="all", **settings)
    model.train(calibrate=False,
        max_epochs=4, batch_size=64, gene_dropout=0.0, accelerator="cpu", devices=int(sys.argv[3]), enable_progress_bar=False,
        run_dir=sys.argv[4],
    )
    model.save(sys.argv[5])
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files with 20 donors; one lacks some genes, and one has them in another order."""
    folder = tmp_path_factory.mktemp("corpus")
    genes = np.arange(60)
    for number, chosen in enumerate((genes, genes[:50], genes[::-1])):
        adata = make_reference(600, seed=number, n_donors=7)[:, chosen].copy()
        adata.obs["tissue"] = "blood" if number else "lung"
        adata.write_h5ad(folder / f"study_{number}.h5ad")
    declared = {
        "sources": [str(folder / f"study_{number}.h5ad") for number in range(3)],
        "labels_key": "cell_type",
        "donor_key": "donor_id",
        "tissue_key": "tissue",
        "features": "union",
        "split": {"fractions": [0.6, 0.2, 0.2]},
    }
    return build(CorpusConfig.of(declared), folder / "store", shard_size=300)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """As if the corpus were larger than what is read at a time."""
    monkeypatch.setattr(_streaming, "CHUNK_SIZE", 32)
    monkeypatch.setattr(_streaming, "WINDOW_SIZE", 256)


def batches_of(corpus, *, batch_size=64, fraction=1.0, seed=0, **kwargs):
    model = LinearClassifier.from_corpus(corpus, n_top_genes="all", fraction=fraction, **kwargs)
    data = model._reference.data(model.spec)
    split = data.split(model._default_training(1000))
    return data, split, data.batches(split, batch_size, seed)


class TestBatches:
    def test_every_cell_once_in_an_epoch_with_its_own_label(self, corpus):
        _, split, module = batches_of(corpus, categorical_covariate_keys=["tissue"])
        for loader, name in ((module.train_dataloader(), "train"), (module.val_dataloader(), "validation")):
            found = list(loader)
            cells = corpus.to_anndata(name)
            order = np.argsort(hashes(np.vstack([counts.to_dense().numpy() for counts, _, _ in found])))
            expected = np.argsort(hashes(cells.X.toarray()))
            np.testing.assert_array_equal(
                np.vstack([counts.to_dense().numpy() for counts, _, _ in found])[order], cells.X.toarray()[expected]
            )
            labels = np.concatenate([labels.numpy() for _, _, labels in found])
            np.testing.assert_array_equal(np.asarray(TYPES)[labels[order]], cells.obs["label"].to_numpy()[expected])
            covariates = np.vstack([known.numpy() for _, known, _ in found])[order]
            np.testing.assert_array_equal(covariates[:, 0] == 1, (cells.obs["tissue"] == "blood").to_numpy()[expected])
        assert len(split.train) == corpus.n_obs_of("train")

    def test_of_nearly_equal_size_and_in_another_order_in_every_epoch(self, corpus):
        _, split, module = batches_of(corpus)
        loader = module.train_dataloader()
        epochs = []
        for epoch in (0, 1, 0):
            loader.set_epoch(epoch)
            epochs.append([counts.to_dense().numpy() for counts, _, _ in loader])
        sizes = [len(counts) for counts in epochs[0]]
        assert len(sizes) == len(loader) == -(-len(split.train) // 64)
        assert max(sizes) - min(sizes) <= 16
        assert not np.array_equal(epochs[0][0][:30], epochs[1][0][:30])
        for first, again in zip(epochs[0], epochs[2], strict=True):
            np.testing.assert_array_equal(first, again)

    def test_cells_of_different_chunks_and_files_meet(self, corpus):
        data, _, module = batches_of(corpus)
        source = np.concatenate([corpus.codes(split, ["source"])["source"] for split in ("train", "validation")])
        hashed = {value: position for position, value in enumerate(hashes(data.rows(np.arange(len(source))).toarray()))}
        counts, _, _ = next(iter(module.train_dataloader()))
        positions = np.array([hashed[value] for value in hashes(counts.to_dense().numpy())])
        assert set(source[positions]) == {0, 1, 2}
        assert len(np.unique(positions // 32)) > 4

    @pytest.mark.parametrize("start", [1, 4, 9])
    def test_go_on_in_the_middle(self, corpus, start):
        _, _, module = batches_of(corpus)
        loader = module.train_dataloader()
        loader.set_epoch(2)
        whole = [counts.to_dense().numpy() for counts, _, _ in loader]
        loader.load_state_dict({"epoch": 2, "batch": start})
        rest = [counts.to_dense().numpy() for counts, _, _ in loader]
        assert len(rest) == len(whole) - start
        for one, other in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("n_processes", [2, 3, 4])
    def test_processes_share_each_batch(self, corpus, monkeypatch, n_processes):
        _, _, module = batches_of(corpus)
        loader = module.train_dataloader()

        def of(number, n):
            monkeypatch.setattr(_streaming, "n_processes", lambda: n)
            monkeypatch.setattr(_streaming, "own_number", lambda: number)
            return [counts.to_dense().numpy() for counts, _, _ in loader]

        whole = of(0, 1)
        parts = [of(number, n_processes) for number in range(n_processes)]
        assert {len(part) for part in parts} == {len(whole)}
        if n_processes != 3:  # lanes are of one process each
            for position, batch in enumerate(whole):
                np.testing.assert_array_equal(np.vstack([part[position] for part in parts]), batch)
        every = np.vstack([batch for part in parts for batch in part])
        np.testing.assert_array_equal(np.sort(hashes(every)), np.sort(hashes(np.vstack(whole))))

    @pytest.mark.parametrize("by", ["donor", "cell"])
    def test_of_a_subset_only(self, corpus, by):
        reference = CorpusReference(corpus, 0.3, by)
        _, split, module = batches_of(corpus, fraction=0.3, fraction_by=by)
        found = np.vstack([counts.to_dense().numpy() for counts, _, _ in module.train_dataloader()])
        np.testing.assert_array_equal(split.train, reference.cells)
        np.testing.assert_array_equal(
            np.sort(hashes(found)), np.sort(hashes(corpus.to_anndata("train", reference.cells).X.toarray()))
        )

    def test_over_the_genes_of_the_model(self, corpus):
        model = LinearClassifier.from_corpus(corpus, n_top_genes=20)
        data = model._reference.data(model.spec)
        cells = np.array([7, 3, 900])
        expected = corpus.to_anndata("train", np.sort(cells)).X.toarray()[[1, 0, 2]]
        positions = [corpus.features.names.index(name) for name in model.spec.features.names]
        np.testing.assert_array_equal(data.rows(cells).toarray(), expected[:, positions])


def hashes(rows):
    return np.array([hash(row.tobytes()) for row in np.ascontiguousarray(rows, dtype=np.float32)])


@pytest.mark.parametrize(
    ("model_class", "settings"),
    [
        (LinearClassifier, {"max_epochs": 15, "batch_size": 64}),
        (MLPClassifier, {"max_epochs": 6, "batch_size": 64}),
        (SCTAB, {"max_epochs": 12, "batch_size": 64}),
        (XGBoostClassifier, {"max_epochs": 15}),
    ],
)
def test_every_class_learns_it(corpus, tmp_path, model_class, settings):
    model = model_class.from_corpus(corpus, **{"n_d": 8, "n_a": 8} if model_class is SCTAB else {})
    model.train(calibrate=False, **settings, accelerator="cpu", enable_progress_bar=False)
    test = corpus.to_anndata("test")
    assert macro_f1(test.obs["label"].astype(str), model.predict(test)) > 0.85
    assert model.spec.labels.names == TYPES
    training = model.spec.training
    assert training["validation"]["by"] == "corpus"
    assert training["validation"]["n_train"] == corpus.n_obs_of("train")
    assert training["corpus"] == {"sha256": corpus.sha256, "fraction": 1.0, "fraction_by": "donor"}
    model.save(tmp_path / "model")
    loaded = model_class.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(test), model.predict(test))
    np.testing.assert_allclose(loaded.gene_importance.sum(), 1, rtol=1e-5)


def test_it_learns_what_the_same_cells_in_memory_teach(corpus):
    memory = corpus.to_anndata("train")
    memory.obs["donor"] = memory.obs["donor"].astype(str)
    LinearClassifier.setup_anndata(memory, "label", donor_key="donor")
    settings = QUICK | {"max_epochs": 10, "gene_dropout": 0.0, "refit": False}
    from_memory = LinearClassifier(memory, n_top_genes="all")
    from_memory.train(calibrate=False, train_size=1.0, **settings)
    from_disk = LinearClassifier.from_corpus(corpus, n_top_genes="all")
    from_disk.train(calibrate=False, **settings)
    losses = [model.history["train_loss"]["train_loss"].to_numpy(float) for model in (from_memory, from_disk)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.2)  # the cells come in another order


def test_interrupted_it_goes_on(corpus, tmp_path):
    def model():
        return SCTAB.from_corpus(corpus, n_d=8, n_a=8, n_top_genes="all")

    settings = QUICK | {"max_epochs": 3}
    whole, broken, resumed = model(), model(), model()
    whole.train(calibrate=False, **settings, run_dir=tmp_path / "whole")

    class Break(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 25:
                raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        broken.train(calibrate=False, **settings, run_dir=tmp_path / "run", callbacks=[Break()])
    resumed.train(calibrate=False, **settings, run_dir=tmp_path / "run", resume=True)
    for name, tensor in whole.module.state_dict().items():
        np.testing.assert_array_equal(resumed.module.state_dict()[name].numpy(), tensor.numpy(), err_msg=name)


def test_augmentation_is_computed_once_and_kept(corpus, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(corpus.path, path)
    settings = QUICK | {"max_epochs": 1, "augment": True}
    models = [LinearClassifier.from_corpus(path, n_top_genes="all") for _ in range(2)]
    models[0].train(**settings)
    (kept,) = (path / "derived").iterdir()
    before = kept.stat().st_mtime_ns
    models[1].train(**settings)
    assert kept.stat().st_mtime_ns == before
    assert models[0].history["train_loss"].equals(models[1].history["train_loss"])
    kept.write_bytes(b"damaged")  # it is computed again
    models[1].train(**settings)
    assert kept.stat().st_size > 7


class TestSubsets:
    def test_models_of_all_shares_have_the_same_labels(self, corpus):
        shares = [LinearClassifier.from_corpus(corpus, fraction=fraction, n_top_genes="all") for fraction in (0.15, 1.0)]
        assert shares[0].spec.labels == shares[1].spec.labels

    def test_shares_lie_in_each_other(self, corpus):
        for by in ("donor", "cell"):
            shares = [set(corpus.subset(share, by=by)) for share in (0.15, 0.3, 0.5, 0.7, 1.0)]
            assert all(small < large for small, large in pairwise(shares))

    def test_stored_ones_are_those_that_are_computed(self, corpus, tmp_path):
        path = tmp_path / "copy"
        shutil.copytree(corpus.path, path)
        for stored in path.glob("subsets_by_*.npy"):
            stored.unlink()
        computed = Corpus.open(path)
        for by in ("donor", "cell"):
            for share in (0.15, 0.3, 0.5, 0.7, 1.0):
                np.testing.assert_array_equal(corpus.subset(share, by=by), computed.subset(share, by=by))


class TestRefusals:
    def test_splits_are_those_of_the_corpus(self, corpus):
        model = LinearClassifier.from_corpus(corpus)
        with pytest.raises(SettingError, match="`validation_split` cannot be set with a corpus"):
            model.train(calibrate=False, validation_split="donor")
        with pytest.raises(SettingError, match=r"`train_size=0.5` cannot be set with a corpus"):
            model.train(calibrate=False, train_size=0.5)

    def test_covariates_that_nobody_knows(self, corpus):
        with pytest.raises(KeyNotFoundError, match="`sex` is not a column of a corpus"):
            LinearClassifier.from_corpus(corpus, categorical_covariate_keys=["sex"])
        with pytest.raises(SettingError, match=r"write `\['tissue'\]`"):
            LinearClassifier.from_corpus(corpus, categorical_covariate_keys="tissue")

    def test_a_covariate_of_which_nothing_is_known(self, corpus):
        with pytest.raises(LabelError, match="No training cell has a known assay. Name its column as `assay_key`"):
            LinearClassifier.from_corpus(corpus, categorical_covariate_keys=["assay"])

    def test_settings_that_the_class_does_not_have(self, corpus):
        with pytest.raises(SettingError, match="`LinearClassifier` has no `n_d`"):
            LinearClassifier.from_corpus(corpus, n_d=8)

    def test_a_subset_of_one_type(self, corpus, monkeypatch):
        monkeypatch.setattr(Corpus, "subset", lambda self, *_, **__: np.flatnonzero(self.codes("train", ["label"])["label"] == 0))
        with pytest.raises(LabelError, match="Use a larger `fraction`"):
            LinearClassifier.from_corpus(corpus, fraction=0.1)

    def test_types_that_a_subset_lacks_are_named(self, corpus, monkeypatch):
        monkeypatch.setattr(Corpus, "subset", lambda self, *_, **__: np.flatnonzero(self.codes("train", ["label"])["label"] > 0))
        with pytest.warns(SctabWarning, match="1 of 3 types have no cell in this subset and cannot be learned: `B cell`"):
            LinearClassifier.from_corpus(corpus, fraction=0.1)


@pytest.mark.parametrize("name", ["linear", "sctab"])
def test_two_processes_have_the_loss_curve_of_one(corpus, tmp_path, name):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    curves = {}
    for n in (1, 2):
        arguments = [str(corpus.path), name, str(n), str(tmp_path / f"run_{n}"), str(tmp_path / f"model_{n}")]
        process = subprocess.run(
            [sys.executable, str(program), *arguments], check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2]
        )
        assert process.returncode == 0, process.stderr
        curves[n] = json.loads((tmp_path / f"model_{n}" / "model.json").read_text())["training"]["history"]
    # Virtual batches, over which TabNet normalises, are cut again in each process.
    tolerance = {"linear": 1e-5, "sctab": 1e-2}[name]
    np.testing.assert_allclose(curves[2]["train_loss"], curves[1]["train_loss"], rtol=tolerance)
    if name == "linear":
        np.testing.assert_allclose(curves[2]["validation_loss"], curves[1]["validation_loss"], rtol=tolerance)


class TestSeveralModels:
    def test_an_ensemble(self, corpus, tmp_path):
        ensemble = DeepEnsemble.from_corpus(corpus, LinearClassifier, 2, fraction=0.7)
        ensemble.train(
            calibrate=False, max_epochs=8, batch_size=64, accelerator="cpu", enable_progress_bar=False, run_dir=tmp_path / "run"
        )
        test = corpus.to_anndata("test")
        assert macro_f1(test.obs["label"].astype(str), ensemble.predict(test)) > 0.85
        assert [member.spec.training["corpus"]["fraction"] for member in ensemble.members] == [0.7, 0.7]
        again = DeepEnsemble.from_corpus(corpus, LinearClassifier, 2, fraction=0.3)
        with pytest.raises(SettingError, match="`data` differs"):
            again.train(
                calibrate=False, max_epochs=8, batch_size=64, accelerator="cpu", enable_progress_bar=False, run_dir=tmp_path / "run"
            )

    def test_auto(self, corpus):
        auto = AutoClassifier.from_corpus(
            corpus, candidates=["linear", "mlp"], settings={"mlp": {"train": {"max_epochs": 1, "learning_rate": 1e-6}}}
        )
        auto.train(calibrate=False, batch_size=64, accelerator="cpu", enable_progress_bar=False)
        assert list(auto.table.index) == ["linear", "mlp"]
        assert auto.table.loc["linear", "kept"]
        selection = auto.spec.training["selection"]
        assert (selection["held_out_by"], selection["n_held_out"]) == ("corpus", corpus.n_obs_of("validation"))
        assert auto.spec.training["validation"]["by"] == "corpus"
        with pytest.raises(SettingError, match="`n_folds=3` cannot be set with a corpus"):
            auto.train(calibrate=False, n_folds=3)

    def test_candidates_do_not_see_the_cells_that_they_are_judged_by(self, corpus):
        reference = CorpusReference(corpus, validates_apart=True)
        model = LinearClassifier.from_corpus(corpus)
        split = reference.data(model.spec).split(model._default_training(1000))
        assert max(split.train.max(), split.validation.max()) < corpus.n_obs_of("train")
        assert split.by == "donor"


class TestTuning:
    def test_judges_by_the_validation_cells(self, corpus):
        pytest.importorskip("optuna")
        space = SearchSpace(model={}, train={"learning_rate": Choice((1e-6, 1e-2))})
        settings = {"max_epochs": 4, "batch_size": 64}
        found = tune_from_corpus(
            corpus, model="linear", space=space, train_settings=settings, n_trials=3, fraction=0.7, accelerator="cpu"
        )
        assert (found.split, found.n_held_out) == ("corpus", corpus.n_obs_of("validation"))
        best = new_model(CorpusReference(corpus, 0.7, validates_apart=True), LinearClassifier, {})
        best.train(calibrate=False, **QUICK | settings | dict(found.best.train_settings))
        validation = corpus.to_anndata("validation")
        assert found.best_value == pytest.approx(macro_f1(validation.obs["label"].astype(str), best.predict(validation)))

    def test_goes_on_with_the_same_part_only(self, corpus, tmp_path):
        pytest.importorskip("optuna")
        quick = {"model": "linear", "train_settings": {"max_epochs": 1}, "n_trials": 1, "storage": tmp_path / "study.db"}
        tune_from_corpus(corpus, **quick)
        with pytest.raises(SettingError, match=r"other `fraction` \(`fraction` was 1.0 and is 0.5\)"):
            tune_from_corpus(corpus, **quick, fraction=0.5)

    def test_searches_differences_between_donors_where_there_are_several(self, corpus, monkeypatch):
        settings = Settings("linear")
        task = make_task(CorpusReference(corpus).held_out(), settings, space=None, seed=0, accelerator="cpu")
        assert "augment" in task.dimensions
        monkeypatch.setattr(Corpus, "subset", lambda self, *_, **__: np.flatnonzero(self.codes("train", ["donor"])["donor"] == 0))
        task = make_task(CorpusReference(corpus, 0.5).held_out(), settings, space=None, seed=0, accelerator="cpu")
        assert "augment" not in task.dimensions


@pytest.fixture(scope="module")
def trained():
    """A model of an AnnData with fewer genes and types than the corpus, and with a covariate that no corpus knows."""
    adata = make_reference(200, seed=5)[:, 5:40]
    adata = adata[adata.obs["cell_type"] != TYPES[0]].copy()
    adata.obs["sex"] = np.resize(["male", "female"], adata.n_obs)
    MLPClassifier.setup_anndata(adata, "cell_type", categorical_covariate_keys=["sex"])
    model = MLPClassifier(adata, n_top_genes="all")
    model.train(calibrate=False, **QUICK | {"max_epochs": 2})
    return model


class TestAModelThatGoesOn:
    @pytest.mark.filterwarnings("ignore:.adata.obs. has no column .sex.")
    def test_learns_new_types_over_its_own_genes(self, corpus, trained, tmp_path):
        model = MLPClassifier.load_query_data(corpus, trained)
        assert model.spec.features == trained.spec.features
        assert model.spec.labels.names == (*trained.spec.labels.names, TYPES[0])
        before = {name: tensor.clone() for name, tensor in model.module.named_parameters()}
        model.train(calibrate=False, **QUICK | {"max_epochs": 30})
        changed = {name for name, tensor in model.module.named_parameters() if not tensor.equal(before[name])}
        assert changed
        assert all(name.startswith("classifier.") for name in changed)
        test = corpus.to_anndata("test")
        assert macro_f1(test.obs["label"].astype(str), model.predict(test)) > 0.85
        model.save(tmp_path / "model")
        again = MLPClassifier.load(tmp_path / "model", corpus)
        again.train(calibrate=False, **QUICK | {"max_epochs": 1})
        assert again.spec.training["corpus"]["sha256"] == corpus.sha256

    def test_refuses_types_that_it_does_not_know(self, corpus, trained, tmp_path):
        trained.save(tmp_path / "model")
        with pytest.raises(LabelError, match=f"does not know: `{TYPES[0]}`. Use `load_query_data`"):
            MLPClassifier.load(tmp_path / "model", corpus)

    def test_refuses_a_corpus_without_its_genes(self, corpus):
        adata = make_reference(120, seed=5)
        adata.var = pd.DataFrame(index=[f"unheard of {i}" for i in range(adata.n_vars)])
        MLPClassifier.setup_anndata(adata, "cell_type")
        strange = MLPClassifier(adata)
        strange.train(calibrate=False, **QUICK | {"max_epochs": 1})
        with pytest.raises(GeneOverlapError, match="None of the model's"):
            MLPClassifier.load_query_data(corpus, strange)


def test_mixed_precision(corpus):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        model = SCTAB.from_corpus(corpus, n_d=8, n_a=8, n_top_genes="all")
        model.train(calibrate=False, **QUICK | {"max_epochs": 3, "gene_dropout": 0.0}, precision=precision)
        losses.append(model.history["train_loss"]["train_loss"].to_numpy(float))
    assert not np.array_equal(losses[0], losses[1])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


CLUSTERING = {"pretrain_epochs": 20, "max_epochs": 50, "tolerance": 0.05, "batch_size": 64, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def clustering(corpus):
    """Clusters of the training cells."""
    model = SCDeepCluster.from_corpus(corpus, n_clusters=len(TYPES), encoder=(32, 16), n_latent=8, batch_key="tissue")
    model.train(**CLUSTERING, enable_progress_bar=False)
    return model


class TestClustering:
    """Clusters of the training cells of a corpus."""

    def test_clusters_are_compared_with_the_labels_of_the_corpus(self, clustering):
        assert clustering.history["ari"]["ari"].iloc[-1] > 0.5

    def test_only_training_cells_are_used(self, clustering, corpus):
        assert clustering.spec.training["n_obs"] == corpus.n_obs_of("train")
        assert clustering.spec.training["corpus"]["sha256"] == corpus.sha256

    def test_statistics_are_those_of_the_cells_in_memory(self, clustering, corpus):
        cells = corpus.to_anndata("train")
        totals = cells[:, list(clustering.spec.features.names)].X.sum(axis=1).A1
        assert clustering.spec.normalization.target_sum == np.median(totals[totals > 0])
        np.testing.assert_array_equal(clustering.predict(cells), clustering.predict(corpus.to_anndata("train")))
        values = np.log1p(cells[:, list(clustering.spec.features.names)].X.toarray() / (totals[:, None] / np.median(totals)))
        np.testing.assert_allclose(clustering.module.input_mean, values.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(clustering.module.input_std, values.std(axis=0, ddof=1), rtol=1e-4)

    def test_the_batch_is_a_covariate(self, clustering):
        assert clustering.spec.category_names == ("tissue=blood", "tissue=lung")

    def test_a_part_is_smaller(self, corpus):
        model = SCDeepCluster.from_corpus(corpus, fraction=0.5, n_clusters=2, encoder=(8,), n_latent=2)
        model.train(**CLUSTERING | {"pretrain_epochs": 1, "max_epochs": 0}, enable_progress_bar=False)
        assert model.spec.training["n_obs"] == len(corpus.subset(0.5, by="donor"))

    def test_it_is_resumed(self, corpus, tmp_path, monkeypatch):
        monkeypatch.setattr("sctab.train._cluster_loop._SECONDS_BETWEEN_STATES", -1.0)

        class Stopped(Exception):
            pass

        def stop(_training, metrics, *_args):
            if "changed" in metrics:
                raise Stopped

        def again():
            return SCDeepCluster.from_corpus(corpus, n_clusters=len(TYPES), encoder=(32, 16), n_latent=8, batch_key="tissue")

        with monkeypatch.context() as patched:
            patched.setattr("sctab.train._cluster_loop._Training._log", stop)
            with pytest.raises(Stopped):
                again().train(**CLUSTERING, enable_progress_bar=False, run_dir=tmp_path / "run")
        whole, resumed = again(), again()
        whole.train(**CLUSTERING, enable_progress_bar=False)
        resumed.train(**CLUSTERING, enable_progress_bar=False, run_dir=tmp_path / "run", resume=True)
        for name, weights in whole.module.state_dict().items():
            np.testing.assert_array_equal(weights, resumed.module.state_dict()[name])

    def test_an_unknown_batch_is_refused(self, corpus):
        with pytest.raises(KeyNotFoundError, match="`lane` is not a column of a corpus"):
            SCDeepCluster.from_corpus(corpus, batch_key="lane")

    def test_an_unknown_setting_is_refused(self, corpus):
        with pytest.raises(SettingError, match=r"`SCDeepCluster` has no `n_cluster`. Did you mean `n_clusters`\?"):
            SCDeepCluster.from_corpus(corpus, n_cluster=3)
