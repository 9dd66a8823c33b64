"""Training data in a query is noted where it is annotated and where it is scored."""

import warnings

import anndata as ad
import numpy as np
import pytest
from tests.types_of_cells import cells_of

import sctab
from sctab.model import LinearClassifier
from sctab.tl._learned import LearnedCells


@pytest.fixture(scope="module")
def reference():
    return cells_of(np.random.default_rng(0).integers(3, size=450), 1)


@pytest.fixture(scope="module")
def model(reference):
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    return model


def notes_of(adata):
    return [note for note in adata.uns["sctab"]["warnings"] if "training data" in note]


def test_all_cells_were_learned(reference, model):
    query = reference[:, ::-1].copy()
    with pytest.warns(sctab.SctabWarning, match="The training data of the model holds all cells: confidence in them is too high"):
        sctab.tl.annotate(query, model)
    assert query.uns["sctab"]["learned"] == {"n_learned": 450, "n_cells": 450}
    with pytest.warns(sctab.SctabWarning, match="holds 450 of 450 cells that were looked at. These scores are too high"):
        sctab.tl.evaluate(query, "cell_type", show=False)


def test_new_cells_are_not_noted(model):
    query = cells_of(np.arange(300) % 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sctab.SctabWarning)
        sctab.tl.annotate(query, model)
        sctab.tl.evaluate(query, "cell_type", show=False)
    assert "learned" not in query.uns["sctab"]


def test_some_cells_of_a_file(reference, model, tmp_path):
    query = cells_of(np.arange(300) % 3, 2)
    reference[:100].copy().write_h5ad(tmp_path / "learned.h5ad")
    query.write_h5ad(tmp_path / "new.h5ad")
    with pytest.warns(sctab.SctabWarning, match="holds all cells"):
        done = sctab.tl.annotate_files([tmp_path / "learned.h5ad", tmp_path / "new.h5ad"], model, output=tmp_path / "out")
    learned, new = (done.runs[str(tmp_path / f"{name}.h5ad")] for name in ("learned", "new"))
    assert learned["learned"] == {"n_learned": 100, "n_cells": 100}
    assert "learned" not in new


def test_a_sample_of_many_cells(reference, model):
    new = cells_of(np.arange(2550) % 3, 3)
    query = ad.concat([new[:1500], reference, new[1500:]], index_unique="-")
    found = LearnedCells.of(model.predictor, model.predictor.open_query(query))
    assert found.n_cells == 2000
    assert found.n_learned == pytest.approx(2000 * 450 / 3000, abs=60)
    assert "of 2,000 cells that were looked at" in found.note


def test_a_model_without_fingerprints(reference, model):
    plain = LinearClassifier(reference)
    plain.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False, calibrate=False, fingerprints=False)
    assert LearnedCells.of(plain.predictor, plain.predictor.open_query(reference)) is None
