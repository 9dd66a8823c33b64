"""The progress of a training, in lines: one after every step, as where stderr is a file and steps are slow."""

import pytest
from tests.reference import make_reference

from sctab.io import _progress, progress_titled
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier

QUICK = {"max_epochs": 2, "batch_size": 64, "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def lines(monkeypatch):
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", -1)


def titles(capsys):
    """Titles of what was shown, in order."""
    shown = capsys.readouterr().err.splitlines()
    return list(dict.fromkeys(line.split(":")[0] for line in shown if "steps/s" in line))


def new_model():
    adata = make_reference(120)
    LinearClassifier.setup_anndata(adata, "cell_type")
    return LinearClassifier(adata)


def test_fit_and_refit_have_titles(capsys):
    new_model().train(calibrate=False, **QUICK, refit=True)
    assert titles(capsys) == ["Training, with validation", "Training, on all cells"]


def test_a_training_without_a_refit(capsys):
    with progress_titled("some model"):
        new_model().train(calibrate=False, **QUICK, refit=False)
    assert titles(capsys) == ["Some model"]


def test_candidates_and_members_have_titles(capsys):
    adata = make_reference(120)
    AutoClassifier.setup_anndata(adata, "cell_type")
    AutoClassifier(adata, candidates=["linear", "mlp"]).train(calibrate=False, n_folds=2, **QUICK)
    order = [(part, name) for part in (1, 2) for name in ("mlp", "linear")]
    shown = titles(capsys)
    assert shown[:4] == [
        f"Comparing {name} (training {number} of 4, part {part} of 2)" for number, (part, name) in enumerate(order, start=1)
    ]
    assert [title.partition(", which is kept, ")[2] for title in shown[4:]] == ["with validation", "on all cells"]
    ensemble = DeepEnsemble(LinearClassifier, 2)
    ensemble.setup_anndata(adata, "cell_type")
    ensemble.train(calibrate=False, **QUICK, refit=False)
    assert titles(capsys) == ["Member 1 of 2", "Member 2 of 2"]


def test_it_says_how_far_and_how_well(capsys):
    model = new_model()
    model.train(calibrate=False, **QUICK, refit=False)
    n_steps = 2 * -(-len(model.train_indices) // 64)
    first, *_, last = [line for line in capsys.readouterr().err.splitlines() if "steps/s" in line]
    assert first.startswith(f"Training: 1 of {n_steps} steps, ")
    assert last.startswith(f"Training: {n_steps} of {n_steps} steps, ")
    assert "train_loss=" in last
    assert "validation_macro_f1=" in last
    assert last.endswith(" (validated on learned donors)")


def test_it_can_be_silenced(capsys):
    new_model().train(calibrate=False, **QUICK, refit=False, enable_progress_bar=False)
    assert capsys.readouterr().err == ""
