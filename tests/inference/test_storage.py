"""Model directories: what is refused, and that nothing but the two files is ever opened."""

import hashlib
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from sctab import ModelFormatError, ModelNotFoundError, OutputError
from sctab.data import FeatureSpace, Normalization
from sctab.data._covariates import Covariate
from sctab.inference._spec import ModelSpec
from sctab.inference._storage import read_model, read_spec, write_model
from sctab.ontology import LabelSpace
from sctab.train._settings import stored_history

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
        "dataset_key": None,
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


def canonical(values):
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_by_hand(path, values, weights=WEIGHTS, importance=IMPORTANCE):
    """A model directory as the format asks for it, whatever its description says."""
    sha256 = hashlib.sha256(canonical(values)).hexdigest()
    tensors = {f"network.{name}": tensor for name, tensor in weights.items()} | {"gene_importance": torch.from_numpy(importance)}
    content = save(tensors, metadata={"spec_sha256": sha256})
    path.mkdir(exist_ok=True)
    (path / "model.safetensors").write_bytes(content)
    of_weights = {"file": "model.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    (path / "model.json").write_text(json.dumps(values | {"weights": of_weights, "spec_sha256": sha256}))


def described(path):
    values = json.loads((path / "model.json").read_text())
    return {name: value for name, value in values.items() if name not in {"weights", "spec_sha256"}}


def edit(path, **changes):
    """Change the description and all hashes with it."""
    write_by_hand(path, described(path) | changes)


def test_round_trip(path):
    stored = read_model(path)
    assert stored.spec == SPEC == read_spec(path)
    assert {name: tensor.tolist() for name, tensor in stored.weights.items()} == {
        name: tensor.tolist() for name, tensor in WEIGHTS.items()
    }
    np.testing.assert_array_equal(stored.importance, IMPORTANCE)


def test_the_format_written_by_hand_is_read(path, tmp_path):
    write_by_hand(tmp_path / "hand", described(path))
    stored = read_model(tmp_path / "hand")
    assert stored.spec == SPEC
    assert stored.note == ""


def test_layout_and_order_of_the_description_do_not_matter(path):
    values = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps(dict(reversed(values.items())), indent=7))
    assert read_model(path).spec == SPEC


def test_every_flipped_bit_is_refused_or_without_effect(path):
    rng = np.random.default_rng(0)
    for name in ("model.json", "model.safetensors"):
        content = (path / name).read_bytes()
        for flip in rng.choice(8 * len(content), size=300, replace=False):
            damaged = bytearray(content)
            damaged[flip // 8] ^= 1 << (flip % 8)
            (path / name).write_bytes(damaged)
            try:
                stored = read_model(path)
            except ModelFormatError:
                continue
            assert name == "model.json"
            assert stored.spec == SPEC, content[flip // 8 - 10 : flip // 8 + 10]
        (path / name).write_bytes(content)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, -2])
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_truncated_files(path, name, size):
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:size])
    with pytest.raises(ModelFormatError):
        read_model(path)


@pytest.mark.parametrize("part", ["labels", "features"])
def test_a_description_that_was_edited(path, part):
    values = json.loads((path / "model.json").read_text())
    for names in values[part].values():
        if isinstance(names, list):
            names.reverse()
    (path / "model.json").write_text(json.dumps(values))
    with pytest.raises(ModelFormatError, match="its content is not what was saved: the SHA-256 differs"):
        read_model(path)


def test_descriptions_of_two_models_that_were_swapped(path, tmp_path):
    other = tmp_path / "other"
    write_model(
        other, replace(SPEC, labels=LabelSpace(("odd/one", "T cell"), (None, "CL:0000084"))), WEIGHTS, IMPORTANCE, overwrite=False
    )
    (path / "model.json").write_bytes((other / "model.json").read_bytes())
    with pytest.raises(ModelFormatError, match="belongs to another description"):
        read_model(path)


def test_a_hash_that_was_made_anew_does_not_fit_the_weights(path):
    values = json.loads((path / "model.json").read_text())
    spec = described(path) | {"description": "better"}
    sha256 = hashlib.sha256(canonical(spec)).hexdigest()
    (path / "model.json").write_text(json.dumps(values | spec | {"spec_sha256": sha256}))
    with pytest.raises(ModelFormatError, match="belongs to another description"):
        read_model(path)


def test_a_new_model_is_not_read_as_one_of_the_first_version(path):
    values = json.loads((path / "model.json").read_text()) | {"format_version": 1}
    del values["spec_sha256"]
    (path / "model.json").write_text(json.dumps(values))
    with pytest.raises(ModelFormatError, match="belongs to another description"):
        read_model(path)


@pytest.mark.parametrize("version", [0, 5, "2", None, True])
def test_unknown_version(path, version):
    edit(path, format_version=version)
    with pytest.raises(ModelFormatError, match=f"has format version {version!r}; this version of sctab reads 1 to 4. Update sctab"):
        read_model(path)


def test_another_format(path):
    edit(path, format="something")
    with pytest.raises(ModelFormatError, match="does not describe an sctab model"):
        read_model(path)


@pytest.mark.parametrize("key", ["labels", "features", "architecture", "normalization", "training", "setup", "versions"])
def test_missing_part(path, key):
    write_by_hand(path, {name: value for name, value in described(path).items() if name != key})
    with pytest.raises(ModelFormatError, match=f"it has no '{key}'. Copy the model again"):
        read_model(path)


def test_missing_hash_of_the_weights(path):
    values = json.loads((path / "model.json").read_text())
    del values["weights"]
    (path / "model.json").write_text(json.dumps(values))
    with pytest.raises(ModelFormatError, match="Copy the model again"):
        read_model(path)


GENES = {"ids": ["ENSG00000167286", ""], "symbols": ["CD3D", "β-gene"], "other_ids": {}}
LABELS = {"names": ["T cell", "odd/one"], "ids": ["CL:0000084", None], "ontology_version": "v1", "notes": []}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"normalization": {"target_sum": -1, "log1p": True}}, "must be above 0"),
        ({"normalization": {"target_sum": 0, "log1p": True}}, "must be above 0"),
        ({"normalization": {"target_sum": "10000", "log1p": True}}, "not a number"),
        ({"normalization": {"target_sum": True, "log1p": True}}, "not a number"),
        ({"normalization": {"target_sum": 1e300, "log1p": True}}, "out of bounds"),
        ({"normalization": {"target_sum": 10**400, "log1p": True}}, "out of bounds"),
        ({"normalization": {"target_sum": 1e4, "log1p": ""}}, "neither true nor false"),
        ({"normalization": {"target_sum": 1e4, "log1p": 1}}, "neither true nor false"),
        ({"normalization": {"target_sum": 1e4, "log1p": True, "log2p": True}}, "unknown entries: `log2p`"),
        ({"labels": LABELS | {"ids": [None]}}, "labels and ontology ids differ in number"),
        ({"labels": LABELS | {"names": [], "ids": []}}, "there are none"),
        ({"labels": LABELS | {"names": ["T cell", "T cell"]}}, "labels occur twice: `T cell`"),
        ({"labels": LABELS | {"names": ["T cell", "T cell "]}}, "labels occur twice: `T cell`"),
        ({"labels": LABELS | {"names": ["T cell", " "]}}, "a label is empty"),
        ({"labels": LABELS | {"names": ["T cell", 3]}}, "not a list of strings"),
        ({"labels": LABELS | {"names": "TB"}}, "not a list of strings"),
        ({"labels": LABELS | {"ids": ["CL:84", None]}}, "must be Cell Ontology ids"),
        ({"labels": LABELS | {"ids": ["", None]}}, "must be Cell Ontology ids"),
        ({"labels": LABELS | {"ids": [84, None]}}, "must be Cell Ontology ids"),
        ({"features": GENES | {"ids": ["ENSG00000167286", "ENSG00000167286"]}}, "genes occur twice"),
        ({"features": GENES | {"ids": ["", ""], "symbols": ["A", "A"]}}, "genes occur twice: `A`"),
        ({"features": GENES | {"symbols": ["CD3D", ""]}}, "gene 1 has neither an id nor a symbol"),
        ({"features": GENES | {"symbols": ["CD3D"]}}, "there must be as many"),
        ({"features": GENES | {"ids": [], "symbols": []}}, "at least one"),
        ({"features": GENES | {"other_ids": {"2": ["A"]}}}, "not the position of one of 2 genes"),
        ({"features": GENES | {"other_ids": {"-1": ["A"]}}}, "not the position"),
        ({"features": GENES | {"other_ids": {"01": ["A"]}}}, "not the position"),
        ({"features": GENES | {"other_ids": {"0": "A"}}}, "not a list of strings"),
        ({"architecture": {"n_d": [8]}}, "neither a number nor a string"),
        ({"architecture": []}, "not an object"),
        ({"architecture": {"n_d": 2**60}}, "out of bounds"),
        ({"covariates": {}}, "not a list"),
        ({"covariates": [{"key": "tissue", "categories": ["blood", "blood"]}]}, "occur twice"),
        ({"covariates": [{"key": "tissue", "categories": []}] * 2}, "covariates occur twice"),
        ({"covariates": [{"key": "", "categories": []}]}, "is empty"),
        ({"setup": {"labels_key": 3}}, "`setup.labels_key` is of the wrong type"),
        ({"setup": {"categorical_covariate_keys": "tissue"}}, "of the wrong type"),
        ({"training": {"history": {"loss": ["low"]}, "epochs": 1, "best_epoch": None}}, "not a number"),
        ({"training": {"history": {"loss": [1.0]}}}, "it has no 'epochs'"),
        ({"training": {"n_obs": "many"}}, "`training.n_obs` is not a number of something"),
        ({"training": {"n_donors": -1}}, "`training.n_donors` is not a number of something"),
        ({"training": {"n_labeled": 1e400}}, "`training.n_labeled` is not a number of something"),
        ({"training": {"cells_per_label": [1]}}, "`training.cells_per_label` is not a list of"),
        ({"training": {"settings": []}}, "`training.settings` is not an object"),
        ({"training": {"corpus": {}}}, "`training.corpus.sha256` is not a string"),
        ({"versions": {"torch": 2}}, "not a string"),
        ({"model_class": None}, "not a string"),
        ({"description": 3}, "not a string"),
        ({"lables": {}}, "unknown entries: `lables`"),
    ],
)
def test_a_description_with_impossible_values(path, changes, match):
    edit(path, **changes)
    with pytest.raises(ModelFormatError, match=match):
        read_model(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"[" * 200_000,
        b'{"format":' * 200_000,
        b'{"format": "sctab-model", "format": "sctab-model"}',
        b'\xef\xbb\xbf{"format": "sctab-model"}',
        b'{"format": "\xff\xfe"}',
        b'{"format": "sctab-model", "format_version": 2, "description": "\\ud800"}',
        b'{"format": "sctab-model", "format_version": ' + b"9" * 5000 + b"}",
        b'{"format": "sctab-model", "format_version": 1e999}',
        b"\0" * 100,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_json_that_is_none(path, content):
    (path / "model.json").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.json|format version"):
        read_model(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(path, number):
    text = (path / "model.json").read_text().replace('"epochs": 3', f'"epochs": {number}')
    assert number in text
    (path / "model.json").write_text(text)
    with pytest.raises(ModelFormatError, match="cannot be trusted"):
        read_model(path)


def test_infinite_numbers_of_a_history_are_kept_as_missing(tmp_path):
    history = {"loss": [1.0, float("nan")]}
    spec = replace(SPEC, training={"epochs": 2, "best_epoch": None, "history": history})
    write_model(tmp_path / "model", spec, WEIGHTS, IMPORTANCE, overwrite=False)
    stored = read_spec(tmp_path / "model").training
    assert stored["history"] == {"loss": [1.0, None]}
    np.testing.assert_array_equal(stored_history(stored)["loss"]["loss"], history["loss"])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes and devices among its files")
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_what_is_no_regular_file_is_refused_without_waiting(path, name, kind):
    (path / name).unlink()
    match kind:
        case "pipe":
            os.mkfifo(path / name)
        case "device":
            (path / name).symlink_to("/dev/zero")
        case "directory":
            (path / name).mkdir()
    with pytest.raises(ModelFormatError, match="not a regular file|Is a directory"):
        read_model(path)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_file_of_impossible_size_is_refused_before_memory_is_taken(path, name):
    with (path / name).open("r+b") as file:
        file.truncate(2**40)  # takes no space
    tracemalloc.start()
    with pytest.raises(ModelFormatError, match="larger than"):
        read_model(path)
    assert tracemalloc.get_traced_memory()[1] < 2**29
    tracemalloc.stop()


@pytest.mark.parametrize("length", [2**63, 2**40, 2**20, 0, 1])
def test_weights_whose_header_says_an_impossible_length(path, length):
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + content[8:])
    with pytest.raises(ModelFormatError, match="safetensors"):
        read_model(path)


def layout(spec):
    network = nn.Linear(3, 2, bias=False)
    network.register_buffer("steps", torch.tensor(0))
    return nn.ModuleDict({"a": network})


def test_the_network_of_a_description_and_the_weights_fit(path):
    assert read_model(path, layout).spec == SPEC


@pytest.mark.parametrize(
    ("network", "match"),
    [
        (lambda _: nn.ModuleDict({"a": nn.Linear(3, 2)}), "do not both have the weights `a.bias`, `a.steps`"),
        (lambda _: nn.ModuleDict({"a": nn.Linear(10**9, 10**6, bias=False)}), "do not both have the weights `a.steps`"),
        (lambda _: nn.Linear(10**12, 10**12), "no network can have the architecture"),
        (lambda spec: spec.architecture["n_a"], "no network can have the architecture"),
    ],
)
def test_a_network_that_does_not_fit_the_weights(path, network, match):
    with pytest.raises(ModelFormatError, match=match):
        read_model(path, network)


def test_a_network_of_another_size_takes_no_memory(path):
    def huge(spec):
        network = layout(spec)
        network["a"].weight = nn.Parameter(torch.empty(10**9, 10**6))
        return network

    with pytest.raises(ModelFormatError, match=r"`a\.weight` are F32 of shape \[2, 3\], and the description asks for F32 of"):
        read_model(path, huge)


def test_weights_of_another_type(path):
    write_by_hand(path, described(path), {"a.weight": WEIGHTS["a.weight"], "a.steps": torch.tensor(5.0)})
    with pytest.raises(ModelFormatError, match=r"`a\.steps` are F32 of shape \[\], and the description asks for I64"):
        read_model(path, layout)


UNSOUND = {
    "NaN": ({"a.weight": torch.tensor([1.0, float("nan")])}, IMPORTANCE),
    "infinite": ({"a.weight": torch.tensor([1.0, float("inf")])}, IMPORTANCE),
    "negative variance": ({"norm.running_var": torch.tensor([1.0, -1e-3])}, IMPORTANCE),
    "negative": (WEIGHTS, np.array([1.25, -0.25], dtype=np.float32)),
    "importance of a gene is negative, NaN": (WEIGHTS, np.array([1, np.nan], dtype=np.float32)),
}


@pytest.mark.parametrize("match", UNSOUND)
def test_weights_that_no_training_should_give(path, match, tmp_path):
    weights, importance = UNSOUND[match]
    with pytest.raises(ModelFormatError, match=match):
        write_model(tmp_path / "other", SPEC, weights, importance, overwrite=False)
    assert not (tmp_path / "other").exists()
    write_by_hand(path, described(path), weights, importance)
    with pytest.raises(ModelFormatError, match=match):
        read_model(path)


def test_a_description_that_cannot_be_stored(tmp_path):
    with pytest.raises(ModelFormatError, match="cannot be stored: .*surrogates not allowed"):
        write_model(tmp_path / "model", replace(SPEC, description="\ud800"), WEIGHTS, IMPORTANCE, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_truncated_weights(path):
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelFormatError, match="truncated or changed. Copy the model again"):
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
    with pytest.raises(ModelFormatError, match="does not have the importance of 3 genes"):
        read_model(tmp_path / "model")


class TestFirstVersion:
    """Details of models that were saved before descriptions had a hash; tests/model/test_stored_formats.py loads all versions."""

    FOLDER = Path(__file__).parents[1] / "fixtures" / "models" / "format_1"

    def test_a_description_without_what_came_later(self, tmp_path):
        path = shutil.copytree(self.FOLDER / "linear", tmp_path / "model")
        values = json.loads((path / "model.json").read_text())
        del values["covariates"], values["labels"]["notes"], values["setup"]["categorical_covariate_keys"]
        (path / "model.json").write_text(json.dumps(values))
        spec = read_spec(path)
        assert (spec.covariates, spec.labels.notes, spec.setup["categorical_covariate_keys"]) == ((), (), [])
        assert spec.n_inputs == len(spec.features)

    def test_a_history_with_what_json_does_not_have(self, tmp_path):
        path = shutil.copytree(self.FOLDER / "linear", tmp_path / "model")
        values = json.loads((path / "model.json").read_text())
        values["training"]["history"]["train_loss"][0] = float("nan")
        (path / "model.json").write_text(json.dumps(values))
        assert read_spec(path).training["history"]["train_loss"][0] is None


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
    with pytest.raises(ModelFormatError, match="is not a safetensors file"):
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
from tests.inference.test_storage import IMPORTANCE, SPEC, write_model, OutputError
import torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    write_model({str(path)!r}, SPEC, {{"a": torch.zeros(100_000)}}, IMPORTANCE, overwrite=True)
except OutputError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # modules that are imported at the end would be cut too
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert "could not be written" in result.stdout
    assert "What was there before is unchanged" in result.stdout
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]
