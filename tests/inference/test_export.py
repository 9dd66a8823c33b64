"""Exported files: they give what the model gives, also where there is neither `sctab` nor PyTorch."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import onnxruntime
import pytest
import torch
from tests.reference import make_reference

from sctab import ModelFormatError, OutputError, OutputExistsError, SettingError
from sctab.benchmark._peers import PeerUnavailableError, default_environments, make_environment
from sctab.inference import Calibration, _export, load_predictor
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier

QUICK = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False, "calibrate": False}
SUFFIXES = ("stablehlo", "onnx")


def trained(model_class, seed=0, settings=None, **setup):
    reference = make_reference()
    model_class.setup_anndata(reference, "cell_type", **setup)
    model = model_class(reference, **(settings or {}))
    model.train(seed=seed, **QUICK)
    return model


def ensemble_of(members, **calibration):
    ensemble = DeepEnsemble.from_members(members)
    ensemble.calibration = Calibration(**calibration)
    return ensemble


def calibrated(model):
    model.spec = replace(model.spec, calibration=Calibration(temperature=1.7))
    return model


@pytest.fixture(scope="module")
def models():
    small = {"n_d": 8, "n_a": 4}
    return {
        "linear": trained(LinearClassifier),
        "mlp": calibrated(trained(MLPClassifier, settings={"n_hidden": 8, "n_layers": 2})),
        "sctab": calibrated(trained(SCTAB, settings=small)),
        "steps": trained(SCTAB, settings=small | {"n_steps": 2, "mask_type": "sparsemax"}),
        "covariates": trained(MLPClassifier, settings={"n_hidden": 8}, categorical_covariate_keys=["donor_id"]),
        "ensemble": ensemble_of(
            [trained(SCTAB, seed, small | {"n_d": n_d}) for seed, n_d in enumerate((8, 6, 8))], temperature=1.3, disagreement=2.0
        ),
    }


NAMES = ("linear", "mlp", "sctab", "steps", "covariates", "ensemble")


def inputs_of(about, adata):
    """Inputs of an exported file as its description says they are: by its gene ids."""
    ids = list(adata.var["ensembl_id"])
    found = [ids.index(gene) if gene in ids else -1 for gene in about["genes"]["ids"]]
    counts = np.where(np.array(found) >= 0, adata.X.toarray()[:, found], 0).astype(np.float32)
    inputs = {"counts": counts}
    if about["covariates"]:
        columns = [adata.obs[each["key"]].astype(str) == name for each in about["covariates"] for name in each["categories"]]
        inputs["covariates"] = np.array(columns).T.astype(np.float32)
    return inputs


def run_stablehlo(path, inputs):
    return jax.export.deserialize(bytearray(path.read_bytes())).call(*inputs.values())


def run_onnx(path, inputs):
    session = onnxruntime.InferenceSession(path)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


RUN = {"stablehlo": run_stablehlo, "onnx": run_onnx}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_the_model(models, tmp_path, name, suffix):
    model, path = models[name], tmp_path / f"{name}.{suffix}"
    model.export(path)
    about = json.loads((tmp_path / f"{name}.{suffix}.json").read_text(encoding="utf-8"))
    adata = make_reference(40, seed=7)[:, 2:].copy()
    adata.X = adata.X.multiply((np.arange(40) != 5)[:, None]).tocsr()
    expected = model.predict(adata, soft=True)
    inputs = inputs_of(about, adata)
    assert [each["name"] for each in about["inputs"]] == list(inputs)
    for n_obs in (40, 1):
        found = RUN[suffix](path, {name: values[:n_obs] for name, values in inputs.items()})
        np.testing.assert_allclose(found["probabilities"], expected[:n_obs], rtol=0, atol=1e-5)
        assert {each["name"]: each["shape"][1] for each in about["outputs"]} == {key: each.shape[1] for key, each in found.items()}
    assert expected.iloc[5].isna().all()
    assert list(expected.columns) == about["labels"]["names"]
    found = RUN[suffix](path, inputs)
    if name == "linear":
        assert "latent" not in found
    else:
        measured = np.arange(40) != 5
        latent = model.get_latent_representation(adata)
        np.testing.assert_allclose(np.asarray(found["latent"])[measured], latent[measured], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_description(models, tmp_path, suffix):
    model, path = models["ensemble"], tmp_path / f"model.{suffix}"
    model.export(str(path))
    about = json.loads(path.with_name(f"model.{suffix}.json").read_text(encoding="utf-8"))
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (about["format"], about["format_version"], about["file"]) == ("sctab-export", 1, f"model.{suffix}")
    assert about["calibration"] == {"temperature": 1.3, "disagreement": 2.0, "n_members": 3}
    assert about["normalization"] == {"target_sum": 10_000.0, "log1p": True}
    assert about["done_inside"] == ["normalization", "calibration"]
    assert about["genes"] == model.spec.features.to_json()
    assert about["labels"]["ids"] == list(model.spec.labels.ids)
    assert about["model"]["class"] == "SCTAB"
    assert about["versions"]["sctab"]
    assert about.get("platforms", ["cpu", "cuda", "rocm", "tpu"]) == ["cpu", "cuda", "rocm", "tpu"]


def test_a_predictor_without_the_training_libraries(models, tmp_path):
    models["sctab"].save(tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    predictor.export(tmp_path / "model.onnx")
    about = json.loads((tmp_path / "model.onnx.json").read_text(encoding="utf-8"))
    assert (about["model"]["name"], about["model"]["sha256"]) == ("model", predictor.sha256)


ALONE = {
    "stablehlo": """
import jax
import numpy as np
from jax import export
function = export.deserialize(bytearray(open(path, "rb").read()))
found = function.call(*inputs)
assert set(function.platforms) == {"cpu", "cuda", "rocm", "tpu"}
""",
    "onnx": """
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(path)
names = [each.name for each in session.get_inputs()]
found = dict(zip([each.name for each in session.get_outputs()], session.run(None, dict(zip(names, inputs)))))
""",
}
PROGRAM = """
import importlib.util, json, sys
import numpy as np
assert not any(importlib.util.find_spec(name) for name in ("sctab", "torch", "anndata"))
path, about, data, out = sys.argv[1:]
about, data = json.load(open(about)), np.load(data)
inputs = [data[each["name"]] for each in about["inputs"]]
{run}
np.savez(out, **{{name: np.asarray(values) for name, values in found.items()}})
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["sctab", "covariates", "ensemble"])
def test_in_an_environment_with_neither_sctab_nor_pytorch(models, tmp_path, name, suffix):
    packages = {"stablehlo": ("flatbuffers", "jax"), "onnx": ("onnxruntime",)}[suffix]
    try:
        python = make_environment([f"{each}=={importlib.metadata.version(each)}" for each in packages], default_environments())
    except PeerUnavailableError as error:
        reason = f"needs an environment with {' and '.join(packages)} alone: {error}"
        if os.environ.get("SCTAB_VALIDATORS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    model, path, adata = models[name], tmp_path / f"model.{suffix}", make_reference(60, seed=3)
    model.export(path)
    described = path.with_name(f"model.{suffix}.json")
    np.savez(tmp_path / "inputs.npz", **inputs_of(json.loads(described.read_text(encoding="utf-8")), adata))
    alone = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = [python, "-c", PROGRAM.format(run=ALONE[suffix]), path, described, tmp_path / "inputs.npz", tmp_path / "found.npz"]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, env=alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["probabilities"], model.predict(adata, soft=True), rtol=0, atol=1e-5)
        np.testing.assert_allclose(found["latent"], model.get_latent_representation(adata), rtol=1e-4, atol=1e-4)


class TestRefusals:
    @pytest.mark.parametrize("name", ["model", "model.pt", "model.onnx.zip"])
    def test_other_suffixes(self, models, tmp_path, name):
        with pytest.raises(SettingError, match=r"must end with `.stablehlo` or `.onnx`"):
            models["linear"].export(tmp_path / name)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("there", ["model.{}", "model.{}.json"])
    def test_existing_files(self, models, tmp_path, suffix, there):
        mine = tmp_path / there.format(suffix)
        mine.write_text("mine")
        with pytest.raises(OutputExistsError, match="already exists"):
            models["linear"].export(tmp_path / f"model.{suffix}")
        assert [path.name for path in tmp_path.iterdir()] == [mine.name]
        assert mine.read_text() == "mine"
        models["linear"].export(tmp_path / f"model.{suffix}", overwrite=True)
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_links_and_directories(self, models, tmp_path, suffix):
        (tmp_path / "mine").write_text("mine")
        (tmp_path / f"model.{suffix}").symlink_to(tmp_path / "mine")
        (tmp_path / f"other.{suffix}.json").mkdir()
        for name in ("model", "other"):
            with pytest.raises(OutputExistsError):
                models["linear"].export(tmp_path / f"{name}.{suffix}", overwrite=True)
        assert (tmp_path / "mine").read_text() == "mine"

    def test_a_place_that_cannot_be_written(self, models, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError):
            models["linear"].export(tmp_path / "file" / "model.onnx")

    def test_trees(self, tmp_path):
        reference = make_reference()
        XGBoostClassifier.setup_anndata(reference, "cell_type")
        trees = XGBoostClassifier(reference)
        trees.train(**QUICK)
        with pytest.raises(SettingError, match="For an export, `SCTAB`, .* a `BoostedTrees` is not made of layers"):
            trees.export(tmp_path / "model.onnx")

    def test_weights_that_are_not_finite(self, tmp_path):
        model = trained(LinearClassifier)
        with torch.no_grad():
            model.module.classifier.weight[0, 0] = float("inf")
        with pytest.raises(ModelFormatError):
            model.export(tmp_path / "model.onnx")

    def test_what_is_larger_than_a_file_can_be(self, models, tmp_path, monkeypatch):
        monkeypatch.setattr(_export, "_LARGEST", 100)
        with pytest.raises(SettingError, match="The weights take 0.0 GiB, and an exported file holds less than 2"):
            models["linear"].export(tmp_path / "model.onnx")


WITHOUT = """
import sys
import sctab

predictor = sctab.zoo.load_predictor("pbmc")
for module, suffix in (("jax", "stablehlo"), ("onnx", "onnx")):
    sys.modules[module] = None
    try:
        predictor.export(f"model.{suffix}")
    except sctab.MissingDependencyError as error:
        print(error)
"""


def test_missing_packages_are_named(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sentence = "This needs `{0}`, which is not installed. Install it with `pip install 'sctab[{0}]'`.\n"
    assert done.stdout == sentence.format("jax") + sentence.format("onnx")
    assert not list(tmp_path.iterdir())
