"""The hash of a training: the same for the same, another one for anything that decides the outcome."""

import numpy as np
import pytest
from tests.reference import make_reference

from sctab.model import DeepEnsemble, LinearClassifier, MLPClassifier, keep_run_hash, run_hash, stored_run_hash


def untrained(cls=LinearClassifier, *, change=None, **setup):
    adata = make_reference(90)
    if change is not None:
        change(adata)
    cls.setup_anndata(adata, "cell_type", **setup)
    return cls(adata)


def one_more_count(adata):
    adata.X = adata.X.copy()
    adata.X.data[0] += 1


def test_the_same_training_has_the_same_hash():
    assert run_hash(untrained(), {}, {"seed": 1}) == run_hash(untrained(), {}, {"seed": 1})


@pytest.mark.parametrize(
    ("model", "model_settings", "train_settings"),
    [
        (lambda: untrained(MLPClassifier), {}, {}),
        (lambda: untrained(change=one_more_count), {}, {}),
        (lambda: untrained(donor_key="donor_id"), {}, {}),
        (untrained, {"n_top_genes": 10}, {}),
        (untrained, {}, {"max_epochs": 3}),
    ],
    ids=["class", "counts", "donors", "model settings", "train settings"],
)
def test_another_training_has_another_hash(model, model_settings, train_settings):
    assert run_hash(model(), model_settings, train_settings) != run_hash(untrained(), {}, {})


def test_ensembles_differ_by_their_members():
    adata = make_reference(90)

    def of(*arguments):
        ensemble = DeepEnsemble(*arguments)
        ensemble.setup_anndata(adata, "cell_type")
        return run_hash(ensemble, {}, {})

    assert len({of(LinearClassifier, 2), of(LinearClassifier, 3), of(MLPClassifier, 2)}) == 3


def test_it_is_stored_with_the_model(tmp_path):
    model = untrained()
    model.train(calibrate=False, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    model.save(tmp_path / "without")
    assert stored_run_hash(tmp_path / "without") is None
    keep_run_hash(model, "some hash")
    model.save(tmp_path / "with")
    assert stored_run_hash(tmp_path / "with") == "some hash"
    loaded = LinearClassifier.load(tmp_path / "with", accelerator="cpu")
    np.testing.assert_array_equal(loaded.predict(make_reference(30)), model.predict(make_reference(30)))
    keep_run_hash(ensemble := DeepEnsemble.from_members([model, loaded]), "another")
    ensemble.save(tmp_path / "ensemble")
    assert stored_run_hash(tmp_path / "ensemble") == "another"
