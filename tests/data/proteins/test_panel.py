"""Antibodies of a model."""

import json

import numpy as np
import pytest

from sctab.data import ProteinPanel, ProteinValues

PANEL = ProteinPanel(("CD3", "CD19", "CD56"), ProteinValues.COUNTS, (0.5, -0.25, 0.0), (1.0, 2.0, 0.5))


def test_inputs():
    assert len(PANEL) == 3
    assert PANEL.n_inputs == 4
    assert PANEL.input_names == ("CD3 (protein)", "CD19 (protein)", "CD56 (protein)", "proteins measured")


def test_stored_and_read():
    assert ProteinPanel.from_json(json.loads(json.dumps(PANEL.to_json()))) == PANEL


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"names": "CD3"}, TypeError, "not a list of strings"),
        ({"names": ["CD3", 1, "CD56"]}, TypeError, "not a list of strings"),
        ({"names": ["CD3", "CD3", "CD56"]}, ValueError, "occur twice: `CD3`"),
        ({"names": [], "mean": [], "sd": []}, ValueError, "is empty"),
        ({"names": ["CD3", " ", "CD56"]}, ValueError, "is empty"),
        ({"values": 1}, TypeError, "not a string"),
        ({"values": "logs"}, ValueError, "`proteins.values` is 'logs'. Available: `counts`"),
        ({"mean": [0.0, 0.0]}, ValueError, "has 2 numbers for 3 antibodies"),
        ({"mean": [0.0, 0.0, True]}, TypeError, "not a list of numbers"),
        ({"mean": [0.0, 0.0, float("nan")]}, ValueError, "not finite"),
        ({"sd": [1.0, 1.0, float("inf")]}, ValueError, "not finite"),
        ({"sd": [1.0, 1.0, 0.0]}, ValueError, "must be above 0"),
        ({"other": 1}, ValueError, "must have `mean`, `names`, `sd`, `values`"),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        ProteinPanel.from_json(PANEL.to_json() | change)


def test_only_objects_are_read():
    with pytest.raises(TypeError, match="`proteins` is not an object"):
        ProteinPanel.from_json([])


def test_match():
    match = PANEL.match(["CD56-1", "CD4", "CD56-2", "CD3E"])
    np.testing.assert_array_equal(match.positions, [2, -1, 2, 0])
    np.testing.assert_array_equal(match.found, [True, False, True])
    assert match.coverage == pytest.approx(2 / 3)
    assert match.table().to_dict("list") == {
        "antibody": ["CD3", "CD19", "CD56"],
        "feature": ["CD3E", "", "CD56-1; CD56-2"],
        "rule": ["gene CD3E", "", "same antigen (CD56)"],
    }
    assert match.notes == (
        "2 of the model's 3 antibodies were found in the data. Missing: `CD19`.",
        "Several features of the data measure one antigen and were averaged: `CD56`.",
    )
