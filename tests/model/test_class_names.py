"""Names of model classes."""

import pytest

from sctab.model import CellTypeClassifier, model_by_name
from sctab.model._class_names import MODEL_NAMES, meant_model, short_name


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_class_is_recognised_by_its_own_name(name):
    cls = model_by_name(name)
    assert meant_model(cls.__name__) == f" Did you mean `{name}`?"
    if issubclass(cls, CellTypeClassifier):
        assert short_name(cls.__name__) == name


@pytest.mark.parametrize(("name", "meant"), [("TabNet", "sctab"), ("sctabb", "sctab"), ("XGB", "xgboost"), ("liner", "linear")])
def test_what_was_meant(name, meant):
    assert meant_model(name) == f" Did you mean `{meant}`?"


@pytest.mark.parametrize("name", ["random forest", "", None])
def test_what_is_nothing_like_any(name):
    assert meant_model(name) == ""
