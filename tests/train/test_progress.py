"""The bar of a training, as it stands on a terminal."""

from tests.reference import make_reference

from sctab.io import progress_titled
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier

QUICK = {"max_epochs": 2, "batch_size": 64, "accelerator": "cpu"}


def titles(capsys):
    """Titles of the bars that were drawn, in order."""
    drawn = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return list(dict.fromkeys(line.split(":")[0] for line in drawn if "epoch/s" in line or "s/epoch" in line))


def new_model():
    adata = make_reference(120)
    LinearClassifier.setup_anndata(adata, "cell_type")
    return LinearClassifier(adata)


def test_fit_and_refit_have_titles(capsys):
    new_model().train(**QUICK, refit=True)
    assert titles(capsys) == ["Fit", "Refit on all cells"]


def test_a_training_without_a_refit(capsys):
    with progress_titled("some model"):
        new_model().train(**QUICK, refit=False)
    assert titles(capsys) == ["Some model, training"]


def test_candidates_and_members_have_titles(capsys):
    adata = make_reference(120)
    AutoClassifier.setup_anndata(adata, "cell_type")
    AutoClassifier(adata, candidates=["linear", "mlp"]).train(n_folds=2, **QUICK)
    parts = [f"Candidate {name}, part {part}, training" for part in (1, 2) for name in ("mlp", "linear")]
    assert titles(capsys)[:4] == parts
    ensemble = DeepEnsemble(LinearClassifier, 2)
    ensemble.setup_anndata(adata, "cell_type")
    ensemble.train(**QUICK, refit=False)
    assert titles(capsys) == ["Member 1 of 2, training", "Member 2 of 2, training"]


def test_the_bar_says_how_far_and_how_well(capsys):
    new_model().train(**QUICK, refit=False)
    last = capsys.readouterr().err.replace("\r", "\n").splitlines()[-1]
    assert "2/2" in last
    assert "train_loss=" in last
    assert "validation_macro_f1=" in last
