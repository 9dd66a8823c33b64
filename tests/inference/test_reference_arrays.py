"""Arrays of a reference in a file beside the weights: whole, or refused."""

import hashlib
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save
from tests.reference import make_reference

from sctab import ModelFormatError
from sctab.inference._reference_arrays import read_arrays, write_arrays
from sctab.model import DeepEnsemble, LinearClassifier
from sctab.zoo import load_predictor

ARRAYS = {"held_out.truth": np.arange(5, dtype=np.int32), "other.values": np.eye(3, dtype=np.float16)[:, ::-1]}
QUICK = {"max_epochs": 2, "batch_size": 32, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module", params=["model", "ensemble"])
def trained(request):
    adata = make_reference()
    if request.param == "ensemble":
        model = DeepEnsemble(LinearClassifier, n_members=2)
        model.setup_anndata(adata, "cell_type", donor_key="donor_id")
    else:
        LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
        model = LinearClassifier(adata)
    model.train(**QUICK)
    return model


@pytest.fixture
def saved(trained, tmp_path):
    trained.save(tmp_path / "model")
    return tmp_path / "model"


def test_arrays_and_back(tmp_path):
    entry = json.loads(json.dumps(write_arrays(tmp_path, ARRAYS)))
    back = read_arrays(tmp_path, entry)
    assert back.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == values.dtype


def test_nothing_is_no_file(tmp_path):
    assert write_arrays(tmp_path, {}) is None
    assert read_arrays(tmp_path, None) == {}
    assert not any(tmp_path.iterdir())


def test_a_model_is_saved_and_loaded_with_them(trained, saved):
    before, after = trained.predictor, load_predictor(saved)
    assert after.spec.calibration == before.spec.calibration
    assert after.spec.calibration.unit == "donor"
    assert after.spec.calibration.n_units == 4
    assert after.arrays.keys() == before.arrays.keys()
    again = type(trained).load(saved, accelerator="cpu")
    again.save(saved.with_name("again"))
    assert (saved.with_name("again") / "reference.safetensors").read_bytes() == (saved / "reference.safetensors").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        os.remove,
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["missing", "truncated", "changed", "empty"],
)
def test_a_damaged_file_is_refused(saved, damage):
    damage(saved / "reference.safetensors")
    with pytest.raises(
        ModelFormatError, match=r"reference\.safetensors` is missing, truncated or changed.*Copy the complete model again"
    ):
        load_predictor(saved)


@pytest.mark.parametrize("entry", [{}, {"file": "../x", "sha256": "0" * 64}, {"file": "reference.safetensors"}, [], "x", 5])
def test_a_description_that_does_not_say_which_is_refused(tmp_path, entry):
    write_arrays(tmp_path, ARRAYS)
    with pytest.raises(ModelFormatError, match="missing, truncated or changed"):
        read_arrays(tmp_path, entry)


def test_nan_is_refused(tmp_path):
    with pytest.raises(ModelFormatError, match="holds NaN"):
        read_arrays(tmp_path, write_arrays(tmp_path, {"a": np.array([1.0, np.nan])}))


def test_overwriting_takes_them_away(saved):
    adata = make_reference()
    LinearClassifier.setup_anndata(adata, "cell_type")
    model = LinearClassifier(adata)
    model.train(**QUICK, calibrate=False)
    model.save(saved, overwrite=True)
    assert not (saved / "reference.safetensors").exists()
    assert load_predictor(saved).spec.calibration is None


@pytest.mark.parametrize("values", [np.float32(1), np.ones(3, dtype=np.complex64)], ids=["number", "complex"])
def test_what_is_no_array_of_real_numbers_is_refused(tmp_path, values):
    content = save({"held_out.truth": np.asarray(values)})
    (tmp_path / "reference.safetensors").write_bytes(content)
    entry = {"file": "reference.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(ModelFormatError, match="holds something else than arrays of real numbers|missing, truncated or changed"):
        read_arrays(tmp_path, entry)
