"""What the settings of a training may be, before any model is made of them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from tests.reference import make_reference

from sctab import SettingError
from sctab.model import LinearClassifier, XGBoostClassifier
from sctab.model._xgboost import BoostingSettings
from sctab.train._settings import TrainingSettings

NEEDED = {"max_epochs": 2, "learning_rate": 0.1, "early_stopping": False, "patience": 3}
OF_NETWORKS = NEEDED | {"batch_size": 32, "weight_decay": 0.0, "schedule": "one-cycle", "gene_dropout": 0.0}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_epochs", 1.5, "an integer"),
        ("max_epochs", 2.0, "an integer: write `2`"),
        ("max_epochs", "1e3", "an integer: write `1000`"),
        ("max_epochs", "1.5", "an integer"),
        ("max_epochs", "inf", "an integer"),
        ("max_epochs", float("nan"), "an integer"),
        ("max_epochs", True, "an integer"),
        ("max_epochs", None, "an integer"),
        ("seed", np.float64(3), "an integer: write `3`"),
        ("split_seed", "1", "an integer: write `1`"),
        ("seed", -1, "between 0 and 4294967295"),
        ("split_seed", 2**32, "between 0 and 4294967295"),
        ("learning_rate", "5e-4", "a number: write `0.0005`"),
        ("learning_rate", "1e-9", "a number: write `0.000000001`"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", [0.1], "a number"),
        ("learning_rate", False, "a number"),
        ("learning_rate", 1j, "a number"),
        ("early_stopping", 1, "`True` or `False`"),
        ("early_stopping", "1", "`True` or `False`"),
        ("class_weights", np.True_, "`True` or `False`"),
        ("validation_split", ["donor"], "`donor` or `stratified`"),
        ("l2", "1", "a number: write `1.0`"),
    ],
)
@pytest.mark.parametrize(("cls", "settings"), [(TrainingSettings, OF_NETWORKS), (BoostingSettings, NEEDED)])
def test_of_another_type_are_refused(name, value, rule, cls, settings):
    with pytest.raises(SettingError) as refused:
        cls(**settings | {name: value})
    assert str(refused.value) == f"`{name}={value!r}` must be {rule}."


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("batch_size", 32.5, "an integer"),
        ("augment", 0, "`True` or `False`"),
        ("schedule", 1, "`one-cycle` or `step`"),
        ("lr_decay", -3, "above 0 and at most 1"),
        ("lr_decay", 0.0, "above 0 and at most 1"),
        ("lr_decay", 1.1, "above 0 and at most 1"),
        ("loss", "plain", "`auto`, `cross-entropy` or `hierarchical`"),
        ("label_smoothing", 1.0, "at least 0 and below 1"),
        ("covariate_dropout", 1.5, "between 0 and 1"),
        ("gradient_clip", -1, "above 0"),
        ("gradient_clip", 0, "above 0"),
        ("gradient_clip", float("nan"), "above 0"),
    ],
)
def test_of_a_network_that_make_no_sense_are_refused(name, value, rule):
    with pytest.raises(SettingError) as refused:
        TrainingSettings(**OF_NETWORKS | {name: value})
    assert str(refused.value) == f"`{name}={value!r}` must be {rule}."


def test_at_the_ends_are_accepted():
    settings = TrainingSettings(**OF_NETWORKS | {"lr_decay": 1, "gradient_clip": float("inf"), "train_size": 1, "learning_rate": 1})
    assert (settings.lr_decay, settings.gradient_clip) == (1, float("inf"))


def test_numbers_of_numpy_are_stored_as_numbers():
    given = {
        "max_epochs": np.int64(3),
        "batch_size": np.uint8(16),
        "learning_rate": np.float32(0.5),
        "weight_decay": np.float64(0.25),
    }
    settings = TrainingSettings(**OF_NETWORKS | given)
    expected = {"max_epochs": 3, "batch_size": 16, "learning_rate": 0.5, "weight_decay": 0.25}
    assert json.loads(json.dumps(asdict(settings))).items() >= expected.items()


@pytest.mark.parametrize("cls", [LinearClassifier, XGBoostClassifier])
def test_a_model_says_it_before_it_is_trained(cls):
    adata = make_reference(30)
    cls.setup_anndata(adata, "cell_type")
    with pytest.raises(SettingError, match="`learning_rate='5e-4'` must be a number: write `0.0005`"):
        cls(adata).train(calibrate=False, learning_rate="5e-4")
