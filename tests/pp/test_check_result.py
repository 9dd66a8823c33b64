"""Findings as plain values."""

import dataclasses
import json

import pytest
from tests.checks import CHECK

from sctab.pp._check_page import page_as_html, page_as_text


def test_json_has_all_but_what_each_cell_has():
    values = CHECK.to_json()
    assert set(values) == {field.name for field in dataclasses.fields(CHECK)} - {"is_learned"}
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again["types"][1] == {
        "label": "T cell", "n_cells": 100, "coverage": None, "n_informative": 0, "n_found": 0, "missing": "", "confused_with": "",
    }  # fmt: skip
    assert again["cells"][0] == {"of": "counts", "median": 800.0, "reference": 1000.0, "ratio": 0.8}
    assert again["promise"]["holds"] is True
    assert again["warnings"] == ["The first warning."]


def test_it_is_printed_as_a_page():
    assert str(CHECK) == page_as_text(CHECK) == CHECK.to_text()
    assert CHECK._repr_html_() == page_as_html(CHECK)


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CHECK.n_obs = 3
