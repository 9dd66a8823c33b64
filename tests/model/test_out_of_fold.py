"""Probabilities of every cell by models that have not seen it."""

import numpy as np
import pandas as pd
import pytest
from tests.types_of_cells import cells_of

from sctab.model import out_of_fold


@pytest.fixture(scope="module")
def adata():
    adata = cells_of(np.arange(120) % 3, seed=0)
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
    adata.obs.iloc[0, adata.obs.columns.get_loc("cell_type")] = None
    adata.obs["cell_type"] = pd.Categorical(adata.obs["cell_type"])
    return adata


@pytest.fixture(scope="module")
def found(adata):
    return out_of_fold(adata, "cell_type", n_folds=3, seed=0)


def test_every_labelled_cell_is_judged_once(adata, found):
    assert np.isnan(found.probabilities[0]).all()
    np.testing.assert_allclose(found.probabilities[1:].sum(axis=1), 1, rtol=1e-5)
    cells = np.concatenate([fold.cells for fold in found.folds])
    assert sorted(cells) == list(range(1, 120))
    assert found.by == "cell"
    right = np.array(found.spec.labels.names)[found.probabilities[1:].argmax(axis=1)] == adata.obs["cell_type"].astype(str)[1:]
    assert right.mean() > 0.9


def test_the_probabilities_are_those_of_the_models_of_the_folds(found):
    for fold in found.folds:
        query = fold.predictor.open_query(fold.part, layer=fold.layer)
        (values,) = query.blocks(1000)
        weights = fold.predictor.networks[0].classifier
        logits = values @ weights.weight.detach().numpy().T + weights.bias.detach().numpy()
        scaled = logits / found.calibration.temperature
        expected = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found.probabilities[fold.cells], expected, atol=2e-4)


def test_a_wrong_label_is_not_learned_from_itself(adata):
    """A model that had seen the cell could repeat its label."""
    changed = adata.copy()
    labels = changed.obs["cell_type"].astype(object)
    labels.iloc[4] = "monocyte" if labels.iloc[4] != "monocyte" else "B cell"
    changed.obs["cell_type"] = pd.Categorical(labels)
    found = out_of_fold(changed, "cell_type", n_folds=3, seed=0)
    names = list(found.spec.labels.names)
    assert found.probabilities[4, names.index(labels.iloc[4])] < 0.2


def test_donors_are_held_out_whole(adata):
    adata = adata.copy()
    adata.obs["donor_id"] = np.array(["a", "b", "c"])[np.arange(120) // 40]
    found = out_of_fold(adata, "cell_type", donor_key="donor_id", n_folds=3, seed=0)
    assert found.by == "donor"
    donors = adata.obs["donor_id"].to_numpy()
    assert all(len(np.unique(donors[fold.cells])) == 1 for fold in found.folds)
