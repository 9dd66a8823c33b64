"""All classes can be taken to other programs, and the page on it runs."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import onnxruntime
import pytest
from tests.cite_seq import cite_seq
from tests.clusters import cells_of_types
from tests.reference import make_reference

import sctab
from sctab import SctabWarning
from sctab.model import AutoClassifier, MLPClassifier, SCDeepCluster

WITHOUT = """
import sys
import scanpy
import sctab

sys.modules["jax"] = None
adata = scanpy.datasets.pbmc68k_reduced()
for use in (lambda: sctab.zoo.load_predictor("pbmc").to_jax(), lambda: sctab.tl.annotate(adata, backend="jax")):
    try:
        use()
    except sctab.MissingDependencyError as error:
        print(error)
assert "sctab" not in adata.uns
"""


def auto():
    reference = make_reference()
    AutoClassifier.setup_anndata(reference, "cell_type")
    model = AutoClassifier(reference, candidates=("linear",))
    model.train(n_folds=2, n_jobs=1, calibrate=False, accelerator="cpu", max_epochs=2, enable_progress_bar=False)
    return model, reference


def clusters():
    cells = cells_of_types(depth=8, n_batches=2)
    SCDeepCluster.setup_anndata(cells, batch_key="batch")
    model = SCDeepCluster(cells, encoder=(16, 8), n_latent=4, n_clusters=3)
    model.train(pretrain_epochs=60, max_epochs=5, batch_size=32, tolerance=0.99, enable_progress_bar=False)
    return model, cells


@pytest.fixture(scope="module", params=[auto, clusters])
def holder(request):
    return request.param()


def inputs_of(model, cells):
    """Counts over the genes of a model, and one-hot categories."""
    spec = model.spec
    positions = spec.features.match(cells.var).positions
    order = [int(np.flatnonzero(positions == gene)[0]) for gene in range(len(spec.features))]
    keys = {covariate.key for covariate in spec.covariates}
    one_hot = np.array(
        [[name in {f"{key}={row[key]}" for key in keys} for name in spec.category_names] for _, row in cells.obs.iterrows()]
    )
    return cells.X[:, order], one_hot if spec.category_names else None


def test_what_holds_a_predictor_is_a_function(holder):
    model, cells = holder
    expected = model.predict(cells, soft=True) if hasattr(model, "best") else model.get_soft_assignments(cells)
    np.testing.assert_allclose(model.to_jax()(*inputs_of(model, cells)), expected, rtol=0, atol=1e-5)


def test_a_model_of_proteins_is_taken_as_for_cells_without_them(tmp_path):
    mdata, query = cite_seq(240), cite_seq(60, seed=4)
    MLPClassifier.setup_mudata(mdata, "cell_type", modalities={"rna": "rna", "protein": "prot"}, donor_key="donor")
    model = MLPClassifier(mdata, n_hidden=8)
    model.train(max_epochs=10, enable_progress_bar=False, accelerator="cpu")
    cells, calibration = query["rna"].copy(), model.spec.calibration
    assert calibration.of_measured("none").temperature != calibration.temperature
    with pytest.warns(SctabWarning, match="The model also looks at 6 surface proteins.*taken as for cells without them"):
        predict = model.to_jax()
    with pytest.warns(SctabWarning, match="taken as for cells without them"):
        model.export(tmp_path / "model.onnx")
    about = json.loads((tmp_path / "model.onnx.json").read_text(encoding="utf-8"))
    assert about["antibodies_left_out"] == list(model.spec.proteins.names)
    assert about["calibration"]["temperature"] == calibration.of_measured("none").temperature
    with pytest.warns(SctabWarning, match="no surface proteins"):
        expected = model.predict(cells, soft=True)
    counts, _ = inputs_of(model, cells)
    found, *_ = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["probabilities"], {"counts": counts.toarray()})
    for got in (predict(counts), found):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)

    for backend in ("jax", "torch"):
        sctab.tl.annotate(query, model, backend=backend, key_added=backend)
    np.testing.assert_allclose(query.obsm["jax_probabilities"], query.obsm["torch_probabilities"], rtol=0, atol=1e-5)


def test_without_jax_an_error_names_the_extra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "This needs `jax`, which is not installed. Install it with `pip install 'sctab[jax]'`.\n" * 2


def test_the_page_runs(repository, tmp_path, monkeypatch):
    page = (repository / "docs" / "jax.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        with warnings.catch_warnings(action="ignore", category=SctabWarning):  # `X` is scaled: it says that it used `raw.X`
            exec(block, names)
    assert names["evidence"].shape == names["values"].shape == (5, len(names["predict"].spec.features))
    assert len(names["best"]) == 2
    np.testing.assert_allclose(names["probabilities"], names["outputs"]["probabilities"], rtol=0, atol=1e-5)
    assert names["adata"].uns["sctab"]["model"]["backend"] == "jax"
