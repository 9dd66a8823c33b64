"""Model directories: what is refused, and that nothing but the two files is ever opened."""

import json
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sctab import ModelFormatError, ModelNotFoundError, OutputError
from sctab.counts import Normalization
from sctab.genes import FeatureSpace
from sctab.model._covariates import Covariate
from sctab.model._spec import ModelSpec
from sctab.model._storage import read_model, read_spec, write_model
from sctab.ontology import LabelSpace

SPEC = ModelSpec(
    model_class="SCTAB",
    architecture={"n_d": 8, "mask_type": "entmax", "dense_decision": True},
    features=FeatureSpace(ids=("ENSG00000167286", ""), symbols=("CD3D", "β-gene")),
    labels=LabelSpace(names=("T cell", "odd/one"), ids=("CL:0000084", None), ontology_version="v1", notes=("a note",)),
    normalization=Normalization(),
    covariates=(Covariate("tissue", ("blood", "lung")),),
    setup={
        "labels_key": "cell_type",
        "layer": None,
        "donor_key": None,
        "unlabeled_category": None,
        "categorical_covariate_keys": ["tissue"],
        "gene_id_key": None,
        "gene_symbol_key": None,
    },
    training={"epochs": 3},
    versions={"torch": "2"},
)
WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(5)}
IMPORTANCE = np.array([0.75, 0.25], dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    write_model(tmp_path / "model", SPEC, WEIGHTS, IMPORTANCE, overwrite=False)
    return tmp_path / "model"


def edit(path, **changes):
    values = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps(values | changes))


def test_a_model_from_before_there_were_covariates(path):
    values = json.loads((path / "model.json").read_text())
    del values["covariates"], values["labels"]["notes"], values["setup"]["categorical_covariate_keys"]
    (path / "model.json").write_text(json.dumps(values))
    spec = read_spec(path)
    assert (spec.covariates, spec.labels.notes, spec.setup["categorical_covariate_keys"]) == ((), (), [])
    assert spec.n_inputs == len(spec.features)


def test_round_trip(path):
    stored = read_model(path)
    assert stored.spec == SPEC == read_spec(path)
    assert {name: tensor.tolist() for name, tensor in stored.weights.items()} == {
        name: tensor.tolist() for name, tensor in WEIGHTS.items()
    }
    np.testing.assert_array_equal(stored.importance, IMPORTANCE)


def test_unknown_version(path):
    edit(path, format_version=2)
    with pytest.raises(ModelFormatError, match="has format version 2; this version of sctab reads 1. Update sctab"):
        read_model(path)


def test_another_format(path):
    edit(path, format="something")
    with pytest.raises(ModelFormatError, match="does not describe an sctab model"):
        read_model(path)


@pytest.mark.parametrize("key", ["labels", "features", "architecture", "normalization", "weights", "training"])
def test_missing_part(path, key):
    values = json.loads((path / "model.json").read_text())
    del values[key]
    (path / "model.json").write_text(json.dumps(values))
    with pytest.raises(ModelFormatError, match="Copy the model again"):
        read_model(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "null"])
def test_json_that_is_none(path, content):
    (path / "model.json").write_text(content)
    with pytest.raises(ModelFormatError, match=r"model\.json"):
        read_model(path)


def test_labels_and_ids_that_disagree(path):
    edit(path, labels={"names": ["T cell", "B cell"], "ids": [None], "ontology_version": ""})
    with pytest.raises(ModelFormatError, match="labels and ontology ids differ in number"):
        read_model(path)


def test_truncated_weights(path):
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelFormatError, match="truncated or changed; copy the model again"):
        read_model(path)


def test_one_changed_bit(path):
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(ModelFormatError, match="SHA-256 differs"):
        read_model(path)


def test_missing_weights(path):
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelFormatError, match="model.safetensors` cannot be read"):
        read_model(path)


def test_missing_description(path):
    (path / "model.json").unlink()
    with pytest.raises(ModelFormatError, match=r"it has no `model\.json`"):
        read_model(path)


def test_missing_directory(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is no such directory"):
        read_model(tmp_path / "nothing")


def test_weights_and_description_that_disagree(tmp_path):
    other = replace(SPEC, features=FeatureSpace(ids=("", "", ""), symbols=("A", "B", "C")))
    write_model(tmp_path / "model", other, WEIGHTS, IMPORTANCE, overwrite=False)
    with pytest.raises(ModelFormatError, match="disagree on the number of genes"):
        read_model(tmp_path / "model")


class Malice:
    """Unpickling it makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def test_a_pickle_beside_the_model_is_never_opened(path, tmp_path):
    trace = tmp_path / "trace"
    for name in ("model.pt", "attr.pkl", "model.bin"):
        (path / name).write_bytes(pickle.dumps(Malice(trace)))
    read_model(path)
    assert not trace.exists()


def test_a_pickled_model_is_refused_and_not_opened(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.pt").write_bytes(pickle.dumps(Malice(trace)))
    with pytest.raises(ModelFormatError, match="a pickled scvi-tools model, which sctab never opens"):
        read_model(tmp_path / "theirs")
    assert not trace.exists()


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_opened(path, tmp_path):
    trace = tmp_path / "trace"
    (path / "model.safetensors").write_bytes(pickle.dumps(Malice(trace)))
    with pytest.raises(ModelFormatError, match="SHA-256 differs"):
        read_model(path)
    assert not trace.exists()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of its path is a file"):
        write_model(tmp_path / "file" / "model", SPEC, WEIGHTS, IMPORTANCE, overwrite=False)


def test_a_full_disk_leaves_the_old_model(path):
    """A real limit of the operating system on the size of a file, in a process of its own."""
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    script = f"""
import resource, signal
from tests.model.test_storage import IMPORTANCE, SPEC, write_model, OutputError
import torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    write_model({str(path)!r}, SPEC, {{"a": torch.zeros(100_000)}}, IMPORTANCE, overwrite=True)
except OutputError as error:
    print(error)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "could not be written" in result.stdout
    assert "What was there before is unchanged" in result.stdout
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]
