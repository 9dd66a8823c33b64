"""Models are calibrated on cells that the models which evaluated them had not seen."""

import numpy as np
import pandas as pd
import pytest
from tests.reference import TYPES, make_reference

import sctab
from sctab.inference import HeldOutCells
from sctab.model import SCTAB, AutoClassifier, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier
from sctab.model._crossfit import FoldOutput, join_folds

QUICK = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}


def reference(**columns):
    adata = make_reference()
    for name, values in columns.items():
        adata.obs[name] = pd.Categorical(values)
    return adata


def trained(cls, adata=None, *, options=QUICK, **setup):
    adata = reference() if adata is None else adata
    cls.setup_anndata(adata, "cell_type", **setup)
    model = cls(adata)
    model.train(**options)
    return model


def held_out_of(model):
    return HeldOutCells.from_arrays(model.predictor.arrays, model.predictor.spec)


@pytest.fixture
def folds(monkeypatch):
    """Cells that each training learns, and cells that its model evaluates."""
    seen = []

    def watch(fold, predictor):
        seen.append((set(fold.reference.to_anndata().obs_names), [name for part in fold.parts() for name in part.obs_names]))
        return evaluate(fold, predictor)

    evaluate = sctab.model._crossfit.evaluate_fold
    monkeypatch.setattr("sctab.model._crossfit.evaluate_fold", watch)
    return seen


@pytest.mark.parametrize("cls", [LinearClassifier, MLPClassifier, SCTAB, XGBoostClassifier])
def test_every_class_is_calibrated_by_donor(cls):
    model = trained(cls, donor_key="donor_id")
    calibration = model.spec.calibration
    assert (calibration.unit, calibration.n_units, calibration.n_obs) == ("donor", 4, 240)
    assert 0 <= calibration.calibration_error <= 1
    assert held_out_of(model).is_known.all()


def test_each_cell_is_evaluated_once_by_a_model_that_has_not_seen_its_donor(folds):
    adata = reference()
    trained(LinearClassifier, adata, donor_key="donor_id")
    assert sorted(name for _, cells in folds for name in cells) == sorted(adata.obs_names)
    for learned, cells in folds:
        donors = [set(adata.obs["donor_id"][list(names)]) for names in (learned, cells)]
        assert not donors[0] & donors[1]


def test_datasets_come_before_donors(folds):
    adata = reference(study=np.where(np.arange(240) < 100, "one", "two"))
    model = trained(LinearClassifier, adata, donor_key="donor_id", dataset_key="study")
    assert (model.spec.calibration.unit, model.spec.calibration.n_units) == ("dataset", 2)
    assert sorted(len(cells) for _, cells in folds) == [100, 140]
    assert model.spec.setup["dataset_key"] == "study"


def test_one_dataset_leaves_it_to_donors():
    adata = reference(study=["one"] * 240)
    assert trained(LinearClassifier, adata, donor_key="donor_id", dataset_key="study").spec.calibration.unit == "donor"


def test_without_donors_cells_are_held_out():
    calibration = trained(LinearClassifier).spec.calibration
    assert (calibration.unit, calibration.n_units, calibration.n_obs) == ("cell", 240, 240)


def test_without_donors_the_temperature_is_of_clusters_that_were_held_out(folds):
    model = trained(LinearClassifier)
    assert len(folds) == 6
    random, clusters = ([names for _, names in part] for part in (folds[:3], folds[3:]))
    assert sorted(name for names in random for name in names) == sorted(name for names in clusters for name in names)
    assert {frozenset(names) for names in random}.isdisjoint(frozenset(names) for names in clusters)
    assert held_out_of(model).calibrate(model.spec) != model.spec.calibration


def test_donors_with_a_type_each_cannot_be_held_out():
    adata = make_reference()
    adata.obs["run"] = adata.obs["cell_type"].astype(str)
    assert trained(LinearClassifier, adata, donor_key="run").spec.calibration.unit == "cell"


def test_a_type_of_one_donor_is_not_known_where_it_is_held_out():
    adata = reference()
    first = (adata.obs["donor_id"] == "donor_0").to_numpy()
    adata.obs["cell_type"] = np.where(
        first & (adata.obs["cell_type"] == TYPES[0]), "plasma cell", adata.obs["cell_type"].astype(str)
    )
    cells = held_out_of(trained(LinearClassifier, adata, donor_key="donor_id"))
    assert (~cells.is_known).sum() == (adata.obs["cell_type"] == "plasma cell").sum()


def test_it_can_be_left_out():
    model = trained(LinearClassifier, options=QUICK | {"calibrate": False})
    assert model.spec.calibration is None
    assert not model.predictor.arrays


def test_training_again_calibrates_the_new_weights():
    model = trained(LinearClassifier)
    before = model.spec.calibration
    model.train(**QUICK | {"max_epochs": 10})
    assert model.spec.calibration != before
    model.train(**QUICK, calibrate=False)
    assert model.spec.calibration is None


def test_folds_start_from_the_weights_that_the_model_started_from():
    """A model that is trained on for one tiny step says of held-out cells what it said before."""
    model = trained(LinearClassifier, options=QUICK | {"max_epochs": 20, "calibrate": False})
    logits = sctab.inference.evaluate_cells(model.predictor, model.adata, model.predictor.open_query(model.adata)).logits[:, 0]
    model.train(**QUICK | {"max_epochs": 1}, learning_rate=1e-12)
    assert np.corrcoef(held_out_of(model).members.log_mean.argmax(axis=1), logits.argmax(axis=1))[0, 1] >= 0
    truth = pd.Index(model.spec.labels.names).get_indexer(model.adata.obs["cell_type"])
    assert (held_out_of(model).members.log_mean.argmax(axis=1) == held_out_of(model).truth).mean() == pytest.approx(
        (logits.argmax(axis=1) == truth).mean()
    )


def test_an_ensemble_is_calibrated_as_one():
    ensemble = DeepEnsemble(LinearClassifier, n_members=2)
    ensemble.setup_anndata(reference(), "cell_type", donor_key="donor_id")
    ensemble.train(**QUICK)
    assert (ensemble.calibration.unit, ensemble.calibration.n_units, ensemble.calibration.n_obs) == ("donor", 4, 240)
    assert ensemble.spec.calibration == ensemble.calibration
    assert all(member.spec.calibration is None for member in ensemble.members)
    assert held_out_of(ensemble).members.mutual_information.any()


def test_auto_takes_the_cells_that_it_compared_candidates_on(folds):
    adata = reference()
    AutoClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    auto = AutoClassifier(adata, candidates=["linear", "mlp"])
    auto.train(**QUICK, n_jobs=1)
    assert auto.spec.calibration.unit == "donor"
    assert held_out_of(auto).truth.shape == (240,)
    assert not folds  # nothing was trained for it


def test_what_cannot_be_held_out_is_said_and_the_model_kept():
    adata = make_reference(12)
    adata.obs["cell_type"] = pd.Categorical(np.repeat(["B cell", "T cell", "monocyte", "platelet", "erythrocyte", "neuron"], 2))
    with pytest.warns(sctab.SctabWarning, match="trained but not calibrated: No type has 3 cells"):
        model = trained(LinearClassifier, adata)
    assert model.spec.calibration is None
    assert model.is_trained


def test_outputs_are_put_in_the_order_of_the_models_labels():
    def fold(names, truth, logits):
        return FoldOutput(
            logits=np.array(logits, dtype=np.float32)[:, None],
            measured=np.array([True] * len(truth)),
            names=names,
            learned=names,
            by="donor",
            truth=np.array(truth, dtype=object),
            unit="donor",
            units=np.array(truth, dtype=object),
        )

    spec = trained(LinearClassifier, options=QUICK | {"calibrate": False}).spec
    parts = [
        fold(TYPES[::-1], [TYPES[0]], [[1.0, 2.0, 3.0]]),
        fold(TYPES[:2], [TYPES[2], "no such type"], [[5.0, 6.0], [0.0, 0.0]]),
    ]
    joined = join_folds(parts, spec)
    np.testing.assert_array_equal(joined.members.log_mean, [[3, 2, 1], [5, 6, -np.inf]])
    assert joined.truth.tolist() == [0, 2]
    assert joined.is_known.tolist() == [True, False]
