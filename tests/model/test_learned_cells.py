"""What models keep of the cells that they have learned from."""

import numpy as np
import pytest
from tests.types_of_cells import cells_of

from sctab.corpus import CorpusConfig, build
from sctab.inference import Depth, Fingerprints
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier, load_model
from sctab.model._learned_cells import learned_cells

QUICK = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
FINGERPRINTS = {"fingerprints.bits", "fingerprints.n_cells", "fingerprints.parts"}
DEPTH = {"depth.counts", "depth.detected", "depth.mean_counts", "depth.mean_detected"}


@pytest.fixture
def reference():
    adata = cells_of(np.random.default_rng(0).integers(3, size=300), 1)
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    return adata


def kept(model):
    return {name for name in model.predictor.arrays if name.startswith(("fingerprints.", "depth."))}


def recognised(model, counts):
    learned = Fingerprints.from_arrays(model.predictor.arrays, n_genes=counts.shape[1])
    return learned.recognise(counts)


def test_all_cells_are_recognised_those_of_the_validation_included(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK)
    assert kept(model) == FINGERPRINTS | DEPTH
    assert model.predictor.arrays["fingerprints.n_cells"] == [300]
    assert recognised(model, reference.X).all()
    assert recognised(model, cells_of(np.arange(500) % 3, 9).X).mean() < 0.02


def test_cells_without_a_label_are_not_learned(reference):
    reference.obs["cell_type"] = reference.obs["cell_type"].where(np.arange(300) < 200, "unknown")
    LinearClassifier.setup_anndata(reference, "cell_type", unlabeled_category="unknown")
    model = LinearClassifier(reference)
    model.train(**QUICK)
    np.testing.assert_array_equal(recognised(model, reference.X)[:200], True)
    assert recognised(model, reference.X)[200:].mean() < 0.05
    assert model.predictor.arrays["fingerprints.n_cells"] == [200]


def test_depth_is_that_of_the_cells(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK)
    depth = Depth.from_arrays(model.predictor.arrays, n_genes=reference.n_vars)
    counts = reference.X.toarray()
    assert depth.counts[50] == np.median(counts.sum(axis=1))
    np.testing.assert_allclose(depth.mean_detected, (counts > 0).mean(axis=0), rtol=1e-6)


def test_they_can_be_left_out(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK, fingerprints=False)
    assert kept(model) == DEPTH


def test_none_without_calibration(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK, calibrate=False)
    assert not kept(model)


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize("kind", ["ensemble", "auto"])
@pytest.mark.parametrize("fingerprints", [True, False])
def test_ensembles_and_auto_keep_and_store_them(reference, tmp_path, kind, fingerprints):
    if kind == "auto":
        model = AutoClassifier(reference, candidates=["linear", "mlp"])
    else:
        model = DeepEnsemble(LinearClassifier, n_members=2)
        model.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model.train(**QUICK, fingerprints=fingerprints)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert kept(again) == (FINGERPRINTS | DEPTH if fingerprints else DEPTH)
    if fingerprints:
        assert recognised(again, reference.X).all()


def test_a_corpus_is_read_in_blocks(reference, tmp_path):
    pytest.importorskip("annbatch", reason="the extra `corpus` is not installed")
    reference.write_h5ad(tmp_path / "cells.h5ad")
    config = {"sources": [str(tmp_path / "cells.h5ad")], "labels_key": "cell_type", "donor_key": "donor_id"}
    build(CorpusConfig.of(config, folder=tmp_path), tmp_path / "corpus")
    model = LinearClassifier.from_corpus(tmp_path / "corpus")
    arrays = learned_cells(model._reference.data(model.spec), fingerprints=True, seed=0)
    learned = Fingerprints.from_arrays(arrays, n_genes=len(model.spec.features))
    n_of_splits = sum(model._reference.corpus.n_obs_of(split) for split in ("train", "validation"))
    assert learned.n_cells == n_of_splits > 0
    match = model.spec.features.match(reference.var)
    found = learned.recognise(match.align(reference.X))
    assert found.sum() >= n_of_splits
    assert found.sum() < n_of_splits + 5
