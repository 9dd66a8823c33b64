"""Sentences on the cells that a model was validated on."""

import pytest
from tests.reference import make_reference

from sctab.model import LinearClassifier
from sctab.train import note_on_validation

QUICK = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "calibrate": False, "refit": False}


@pytest.mark.parametrize(
    ("donor_key", "options", "said"),
    [
        (None, {}, "expect less on new donors. `donor_key` holds out whole donors."),
        ("donor_id", {"validation_split": "stratified"}, "`validation_split='donor'` holds out whole donors."),
        ("pair", {}, "Whole donors could not be held out of 2."),
        ("donor_id", {}, None),
        (None, {"train_size": 1.0}, None),
    ],
)
def test_a_score_of_cells_of_learned_donors_is_optimistic(donor_key, options, said):
    adata = make_reference(120)
    adata.obs["pair"] = (adata.obs["donor_id"] == adata.obs["donor_id"].iloc[0]).map({True: "a", False: "b"})
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key=donor_key)
    model = LinearClassifier(adata)
    model.train(**QUICK, **options)
    note = note_on_validation(model.spec.training)
    assert note is None if said is None else note.startswith("Donors of these cells were learned, too") and note.endswith(said)


def test_a_corpus_has_no_option_for_donors():
    training = {"validation": {"by": "stratified", "macro_f1": 0.5}, "corpus": {}, "n_donors": None}
    assert str(note_on_validation(training)).endswith("A corpus with a donor of each cell holds out whole donors.")
