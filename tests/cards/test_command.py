"""Code on a card trains the same model again."""

import warnings
from pathlib import Path

import pytest
import torch
from tests.cite_seq import cite_seq
from tests.reference import make_reference

from sctab.cards._command import training_code
from sctab.model import DeepEnsemble, LinearClassifier, MLPClassifier, SCDeepCluster

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
QUICK = {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False, "calibrate": False}


def run(code, **names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, names)
    return names["model"]


def weights_of(model):
    networks = model.predictor.networks
    return [value for network in networks for value in network.state_dict().values()]


def assert_same(model, again):
    assert all(torch.equal(value, other) for value, other in zip(weights_of(model), weights_of(again), strict=True))


@pytest.mark.parametrize(
    ("kind", "settings", "train"),
    [
        (LinearClassifier, {"n_top_genes": 30}, {"seed": 3}),
        (MLPClassifier, {"n_hidden": 8}, {"split_seed": 5, "learning_rate": 0.01}),
    ],
)
def test_one_model(kind, settings, train):
    cells = make_reference()
    kind.setup_anndata(cells, "cell_type", donor_key="donor_id", gene_id_key="ensembl_id")
    model = kind(cells, **settings)
    model.train(**QUICK, **train)
    code = training_code(model.spec)
    keys = ["adata", '"cell_type"', 'donor_key="donor_id"', 'gene_id_key="ensembl_id"']
    assert f"{kind.__name__}.setup_anndata(\n{''.join(f'    {key},\n' for key in keys)})" in code
    assert code.endswith("calibrate=False,\n)")
    assert_same(model, run(code, adata=make_reference()))


def test_a_sketch():
    cells = make_reference()
    LinearClassifier.setup_anndata(cells, "cell_type")
    model = LinearClassifier(cells)
    model.train(**QUICK, sketch=60)
    n_sketched = len(model._arrays["sketch.labels"])
    again = run(training_code(model.spec, n_sketched=n_sketched), adata=make_reference())
    assert all((model._arrays[name] == again._arrays[name]).all() for name in model._arrays)


def test_an_ensemble():
    ensemble = DeepEnsemble(LinearClassifier, n_members=2)
    ensemble.setup_anndata(make_reference(), "cell_type", donor_key="donor_id")
    ensemble.train(**QUICK, seed=4)
    code = training_code(ensemble.spec, n_members=2)
    assert "seed=4" in code
    assert_same(ensemble, run(code, adata=make_reference()))


def test_a_model_with_proteins():
    mdata = cite_seq(120)
    LinearClassifier.setup_mudata(mdata, "cell_type", modalities={"rna": "rna", "protein": "prot"}, donor_key="donor")
    model = LinearClassifier(mdata)
    model.train(**QUICK)
    assert_same(model, run(training_code(model.spec), mdata=cite_seq(120)))


def test_members_with_seeds_of_their_own():
    cells = make_reference()
    LinearClassifier.setup_anndata(cells, "cell_type")
    model = LinearClassifier(cells)
    model.train(**QUICK, seed=1)
    assert training_code(model.spec, n_members=2) == ""


def test_a_clustering():
    spec = SCDeepCluster.load(FIXTURES / "format_3/scdeepcluster").spec
    assert (
        "SCDeepCluster.setup_anndata(\n    adata,\n)\nmodel = sctab.model.SCDeepCluster(\n    adata,\n    n_latent=2"
        in training_code(spec)
    )


def test_a_published_checkpoint_has_none():
    spec = LinearClassifier.load(FIXTURES / "format_3/linear").spec
    assert training_code(type(spec)(**{**vars(spec), "training": {"published": True}})) == ""
