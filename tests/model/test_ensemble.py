"""DeepEnsemble: several models that are used as one."""

import gc
import hashlib
import json
import shutil
import weakref

import anndata as ad
import dask.array as da
import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback
from scipy.stats import entropy
from tests.reference import TYPES, make_reference

import sctab
from sctab import ModelFormatError, NotTrainedError, OutputExistsError, SettingError
from sctab.inference import predict_cells
from sctab.model import SCTAB, AutoClassifier, DeepEnsemble, LinearClassifier, MLPClassifier, load_model

QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 6, "batch_size": 32, "gene_dropout": 0.3, "refit": False}


def make_ensemble(cls=MLPClassifier, n_members=3, *, seed=1, **train_settings):
    ensemble = DeepEnsemble(cls, n_members)
    ensemble.setup_anndata(make_reference(), labels_key="cell_type", donor_key="donor_id")
    ensemble.train(calibrate=False, **QUICK | train_settings, seed=seed)
    return ensemble


@pytest.fixture(scope="module")
def ensemble():
    return make_ensemble()


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


def decided(model, adata):
    predictor = model.predictor
    return predict_cells(predictor, adata, predictor.open_query(adata))


def probabilities(model, query):
    return model.predict(query, soft=True).to_numpy()


class TestPrediction:
    def test_it_is_the_mean_of_its_members(self, ensemble, query):
        of_members = [probabilities(member, query) for member in ensemble.members]
        np.testing.assert_allclose(probabilities(ensemble, query), np.mean(of_members, axis=0), atol=1e-6)
        best = np.mean(of_members, axis=0).argmax(axis=1)
        assert ensemble.predict(query).tolist() == [sorted(TYPES)[i] for i in best]

    def test_uncertainty_is_split_into_what_members_are_unsure_of_and_what_they_disagree_on(self, ensemble, query):
        of_members = np.array([probabilities(member, query) for member in ensemble.members], dtype=np.float64)
        decision = decided(ensemble, query)
        expected = entropy(of_members, axis=2).mean(axis=0)
        np.testing.assert_allclose(decision.expected_entropy, expected, atol=1e-5)
        np.testing.assert_allclose(decision.mutual_information, entropy(of_members.mean(axis=0), axis=1) - expected, atol=1e-5)
        assert decision.mutual_information.min() >= 0
        assert decision.mutual_information.max() > 1e-4

    def test_a_cell_without_counts_is_not_known(self, ensemble, query):
        blank = query.copy()
        blank.X = blank.X.multiply(np.arange(blank.n_obs)[:, None] > 0).tocsr()
        decision = decided(ensemble, blank)
        assert np.flatnonzero(~decision.measured).tolist() == [0]
        assert np.flatnonzero(decision.codes < 0).tolist() == [0]
        for values in (decision.probabilities[:, 0], decision.expected_entropy, decision.mutual_information):
            assert np.flatnonzero(np.isnan(decision.column(values))).tolist() == [0]

    def test_latents_stand_side_by_side(self, ensemble, query):
        parts = [member.get_latent_representation(query) for member in ensemble.members]
        np.testing.assert_allclose(ensemble.get_latent_representation(query), np.concatenate(parts, axis=1), atol=1e-6)

    def test_without_a_latent_space_it_says_so(self, query):
        with pytest.raises(SettingError, match="`LinearClassifier` reads labels from the expression itself"):
            make_ensemble(LinearClassifier, 2, max_epochs=1).get_latent_representation(query)

    def test_one_prediction_reads_the_data_once(self, ensemble, query):
        read = []

        def count(block):
            read.append(block.shape[0])
            return block

        chunks = da.from_array(query.X.toarray(), chunks=(30, -1))
        adata = ad.AnnData(X=chunks.map_blocks(count, dtype=np.float32, meta=np.empty((0, 0), np.float32)), var=query.var)
        ensemble.members[0].predict(adata)
        of_one = len(read)
        read.clear()
        ensemble.predict(adata)
        assert len(read) == of_one

    def test_its_own_reference_is_the_default(self, ensemble):
        assert len(ensemble.predict()) == ensemble.adata.n_obs


class TestTraining:
    def test_members_differ_and_are_validated_on_the_same_cells(self, ensemble, query):
        first, second = ensemble.members[:2]
        assert np.abs(probabilities(first, query) - probabilities(second, query)).max() > 1e-3
        np.testing.assert_array_equal(first.validation_indices, second.validation_indices)
        assert len({member.spec.training["settings"]["seed"] for member in ensemble.members}) == 3

    def test_the_same_seed_gives_the_same_ensemble_and_another_seed_shares_no_member(self, ensemble, query):
        np.testing.assert_array_equal(probabilities(make_ensemble(), query), probabilities(ensemble, query))
        seeds = {member.spec.training["settings"]["seed"] for member in ensemble.members}
        assert not seeds & {member.spec.training["settings"]["seed"] for member in make_ensemble(seed=2, max_epochs=1).members}

    def test_history_has_a_column_per_member(self, ensemble):
        assert ensemble.history["validation_macro_f1"].shape == (6, 3)

    def test_side_by_side_gives_the_same_members(self, query):
        alone, beside = (make_ensemble(LinearClassifier, 2, max_epochs=1, n_jobs=n_jobs) for n_jobs in (1, 2))
        np.testing.assert_allclose(probabilities(beside, query), probabilities(alone, query), atol=1e-6)

    def test_a_run_that_was_interrupted_goes_on(self, ensemble, query, tmp_path):
        make_ensemble(run_dir=tmp_path / "run")
        kept = (tmp_path / "run/member_0/model.safetensors").stat().st_mtime_ns
        shutil.rmtree(tmp_path / "run/member_1")
        again = make_ensemble(run_dir=tmp_path / "run")
        assert (tmp_path / "run/member_0/model.safetensors").stat().st_mtime_ns == kept
        assert (tmp_path / "run/curves_1-2/metrics.csv").is_file()
        np.testing.assert_allclose(probabilities(again, query), probabilities(ensemble, query), atol=1e-6)

    def test_a_run_of_something_else_is_refused(self, tmp_path):
        make_ensemble(n_members=2, max_epochs=1, run_dir=tmp_path / "run")
        with pytest.raises(SettingError, match="was trained differently: `train_settings` differs"):
            make_ensemble(n_members=2, max_epochs=2, run_dir=tmp_path / "run")
        other = DeepEnsemble(MLPClassifier, 2)
        other.setup_anndata(make_reference(120), labels_key="cell_type", donor_key="donor_id")
        with pytest.raises(SettingError, match="`data` differs"):
            other.train(calibrate=False, **QUICK | {"max_epochs": 1}, seed=1, run_dir=tmp_path / "run")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/notes.txt").write_text("mine")
        with pytest.raises(OutputExistsError, match="is not the training of an ensemble"):
            make_ensemble(n_members=2, run_dir=tmp_path / "mine")

    def test_it_goes_on_wherever_it_runs(self, tmp_path):
        make_ensemble(n_members=2, max_epochs=1, run_dir=tmp_path / "run")
        kept = (tmp_path / "run/member_1/model.safetensors").stat().st_mtime_ns
        make_ensemble(n_members=2, max_epochs=1, run_dir=tmp_path / "run", enable_progress_bar=True, callbacks=[Callback()])
        assert (tmp_path / "run/member_1/model.safetensors").stat().st_mtime_ns == kept

    def test_a_backed_reference_goes_to_other_processes(self, tmp_path):
        make_reference().write_h5ad(tmp_path / "reference.h5ad")
        ensemble = DeepEnsemble(LinearClassifier, 2)
        ensemble.setup_anndata(ad.read_h5ad(tmp_path / "reference.h5ad", backed="r"), "cell_type")
        ensemble.train(calibrate=False, **QUICK | {"max_epochs": 1}, n_jobs=2)
        assert len(ensemble.members) == 2

    def test_members_in_a_directory_do_not_keep_the_reference_in_memory(self, tmp_path):
        ensemble = make_ensemble(LinearClassifier, 2, max_epochs=1, run_dir=tmp_path / "run")
        reference = weakref.ref(ensemble.adata)
        ensemble.deregister_manager(ensemble.adata)
        del ensemble
        gc.collect()
        assert reference() is None

    def test_a_loaded_ensemble_trains_members_like_those_that_it_has(self, tmp_path):
        adata = make_reference()
        ensemble = DeepEnsemble(MLPClassifier, 2, n_hidden=8, n_top_genes=30)
        ensemble.setup_anndata(adata, "cell_type")
        ensemble.train(calibrate=False, **QUICK | {"max_epochs": 1})
        ensemble.save(tmp_path / "two")
        again = DeepEnsemble.load(tmp_path / "two", adata)
        again.train(calibrate=False, **QUICK | {"max_epochs": 1}, seed=9)
        assert again.spec.architecture == ensemble.spec.architecture
        assert again.spec.features == ensemble.spec.features

    def test_what_cannot_be_trained(self):
        with pytest.raises(SettingError, match="`n_members=1` must be at least 2"):
            DeepEnsemble(SCTAB, 1)
        for wrong in ("sctab", AutoClassifier):
            with pytest.raises(SettingError, match="must be a model class, such as `SCTAB`"):
                DeepEnsemble(wrong)
        with pytest.raises(SettingError, match="There is no reference"):
            DeepEnsemble(SCTAB).train()
        with pytest.raises(NotTrainedError, match="The ensemble is not trained"):
            DeepEnsemble(SCTAB).predict(make_reference())
        with pytest.raises(SettingError, match="`n_jobs=0` must be at least 1"):
            make_ensemble(n_jobs=0)


def test_a_reference_can_be_let_go_of():
    ensemble = make_ensemble(n_members=2, max_epochs=1)
    reference = weakref.ref(ensemble.adata)
    ensemble.deregister_manager(ensemble.adata)
    stores = MLPClassifier._per_instance_manager_store
    assert not any(stores.get(member.id) for member in ensemble.members)
    del ensemble
    gc.collect()
    assert reference() is None


class TestFiles:
    def test_what_is_saved_is_loaded(self, ensemble, query, tmp_path):
        ensemble.save(tmp_path / "five", description="An ensemble")
        for loaded in (DeepEnsemble.load(tmp_path / "five"), load_model(tmp_path / "five"), sctab.zoo.load(tmp_path / "five")):
            np.testing.assert_allclose(probabilities(loaded, query), probabilities(ensemble, query), atol=1e-6)
            assert loaded.name == "five"
            assert loaded.sha256 == ensemble.sha256
            assert loaded.spec.description == "An ensemble"

    def test_nothing_else_is_replaced(self, ensemble, tmp_path):
        ensemble.save(tmp_path / "five")
        with pytest.raises(OutputExistsError):
            ensemble.save(tmp_path / "five")
        ensemble.save(tmp_path / "five", overwrite=True)
        ensemble.members[0].save(tmp_path / "five", overwrite=True)
        assert isinstance(load_model(tmp_path / "five"), MLPClassifier)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/notes.txt").write_text("mine")
        with pytest.raises(OutputExistsError, match="is not a model directory"):
            ensemble.save(tmp_path / "mine", overwrite=True)

    def test_a_member_that_was_exchanged_is_refused(self, ensemble, tmp_path):
        ensemble.save(tmp_path / "five")
        make_ensemble(seed=5, max_epochs=1, n_members=2).members[0].save(tmp_path / "five/member_1", overwrite=True)
        with pytest.raises(ModelFormatError, match="is not the member that was saved"):
            load_model(tmp_path / "five")

    def test_one_model_is_no_ensemble_nor_the_other_way_round(self, ensemble, tmp_path):
        ensemble.save(tmp_path / "three")
        with pytest.raises(ModelFormatError, match=r"for one model, use `sctab.model.load_model`"):
            DeepEnsemble.load(tmp_path / "three/member_0")
        with pytest.raises(ModelFormatError, match=r"holds an ensemble and not one model. Use `sctab.model.load_model`"):
            MLPClassifier.load(tmp_path / "three")

    def test_a_member_that_is_lost_is_named(self, ensemble, tmp_path):
        ensemble.save(tmp_path / "five")
        shutil.rmtree(tmp_path / "five/member_2")
        with pytest.raises(ModelFormatError, match="has 3 members, and `.*member_2` is missing"):
            load_model(tmp_path / "five")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format_version": 9}, "format version 9"),
            ({"members": ["only one"]}, "does not have the hashes of at least two members"),
            ({"format": "something"}, "does not describe an ensemble"),
        ],
    )
    def test_a_description_that_makes_no_sense(self, ensemble, tmp_path, change, message):
        ensemble.save(tmp_path / "five")
        path = tmp_path / "five/ensemble.json"
        values = {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"} | change
        content = json.dumps(values, sort_keys=True, separators=(",", ":"))
        path.write_text(json.dumps(values | {"sha256": hashlib.sha256(content.encode()).hexdigest()}))
        with pytest.raises(ModelFormatError, match=message):
            DeepEnsemble.load(tmp_path / "five")

    def test_an_edited_description_is_refused(self, ensemble, tmp_path):
        ensemble.save(tmp_path / "five")
        path = tmp_path / "five/ensemble.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {"members": values["members"][:2]}))
        with pytest.raises(ModelFormatError, match="its content is not what was written: the SHA-256 differs"):
            load_model(tmp_path / "five")

    @pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"members": 1e999}', b"\xff"])
    def test_a_damaged_description_is_refused(self, ensemble, tmp_path, content):
        ensemble.save(tmp_path / "five")
        (tmp_path / "five/ensemble.json").write_bytes(content)
        with pytest.raises(ModelFormatError, match="ensemble"):
            DeepEnsemble.load(tmp_path / "five")
        with pytest.raises(ModelFormatError, match="ensemble"):
            load_model(tmp_path / "five")

    def test_members_must_go_together(self, ensemble):
        with pytest.raises(SettingError, match="differ in their genes"):
            DeepEnsemble.from_members([ensemble.members[0], make_with_fewer_genes()])
        with pytest.raises(SettingError, match="Member 0 is a `MLPClassifier` and member 1 a `LinearClassifier`"):
            DeepEnsemble.from_members([ensemble.members[0], make_ensemble(LinearClassifier, 2, max_epochs=1).members[0]])


def make_with_fewer_genes():
    adata = make_reference()[:, :40].copy()
    MLPClassifier.setup_anndata(adata, labels_key="cell_type")
    model = MLPClassifier(adata)
    model.train(calibrate=False, **QUICK | {"max_epochs": 1})
    return model


class TestAnnotate:
    def test_columns_are_written(self, ensemble, query, tmp_path):
        adata = sctab.tl.annotate(query, ensemble, copy=True)
        decision = decided(ensemble, query)
        np.testing.assert_allclose(adata.obs["sctab_uncertainty"], 1 - decision.probabilities.max(axis=1), atol=1e-6)
        np.testing.assert_allclose(adata.obs["sctab_expected_entropy"], decision.expected_entropy)
        np.testing.assert_allclose(adata.obs["sctab_mutual_information"], decision.mutual_information)
        assert adata.uns["sctab"]["model"]["n_members"] == 3
        adata.write_h5ad(tmp_path / "annotated.h5ad")

    def test_one_model_has_no_such_columns(self, ensemble, query):
        adata = sctab.tl.annotate(query, ensemble.members[0], copy=True)
        assert "sctab_mutual_information" not in adata.obs

    def test_what_another_model_has_written_does_not_stay(self, ensemble, query):
        linear = make_ensemble(LinearClassifier, 2, max_epochs=1).members[0]
        adata = sctab.tl.annotate(query, ensemble, copy=True)
        sctab.tl.annotate(adata, linear)
        assert not {"sctab_expected_entropy", "sctab_mutual_information"} & set(adata.obs)
        assert "X_sctab" not in adata.obsm


def test_curves_are_those_of_a_member(ensemble, tmp_path):
    ensemble.save(tmp_path / "three")
    for source in (ensemble, tmp_path / "three"):
        with pytest.raises(SettingError, match="a training for each member"):
            sctab.get.training(source)
    assert len(sctab.get.training(tmp_path / "three/member_0"))
