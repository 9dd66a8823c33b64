"""Warnings of a check: when there is one, and when there is none."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.checks import CELLS, TYPES

from sctab.errors import Message
from sctab.inference import CellCounts, PromiseCheck
from sctab.pp._check_notes import Findings, verdict_on, warnings_of

MANY = np.full(1000, 50)


def cells(n_learned=0, n_detected=MANY, is_empty=None):
    empty = np.zeros(1000, dtype=bool) if is_empty is None else is_empty
    return CellCounts(np.full(1000, 99.0), n_detected, empty, np.arange(1000) < n_learned)


PROMISE = PromiseCheck(0.1, 0.01, 0.05, "donor", 12, "")
QUIET = Findings(
    query=SimpleNamespace(notes=(), match=SimpleNamespace(coverage=0.9)),
    types=TYPES,
    confused=[],
    confused_in_all=[],
    cells=CELLS.assign(ratio=1.0),
    counted=cells(),
    shift=0.5,
    fraction_unseen=0.0,
    unseen_fdr=0.1,
    leakage={"expected_recall": 1.0, "false_positive_rate": 0.002},
    promise=PROMISE,
    has_sketch=False,
    labelled=None,
)


def test_nothing_to_say():
    assert list(warnings_of(QUIET)) == []


def test_notes_on_how_the_data_was_read_come_first():
    found = list(
        warnings_of(replace(QUIET, query=SimpleNamespace(notes=("read",), match=SimpleNamespace(coverage=0.9)), shift=0.99))
    )
    assert found[0] == "read"
    assert len(found) == 2


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"counted": cells(n_detected=np.where(MANY.cumsum() <= 150, 0, 50))}, r"^3 further cells have no count in the genes"),
        ({"counted": cells(n_learned=100)}, r"^100 of 1,000 cells were in the training data"),
        ({"cells": CELLS.assign(ratio=0.2)}, r"shows 0\.2 times as many genes .* vote over clusters"),
        ({"cells": CELLS.assign(ratio=4.0)}, r"shows 4 times as many genes .* not calibrated for such depth"),
        ({"types": TYPES.assign(coverage=[0.9, 0.3])}, r"^Of `T cell`, the data has less than half"),
        ({"confused": [["B cell", "T cell"]]}, r"`B cell`, `T cell` cannot be distinguished with the genes of this data"),
        ({"confused": [["a", "b"]], "confused_in_all": [["b", "a"]]}, r"with any genes of the model at this depth"),
        ({"shift": 0.95}, r"further from the types of the model than 95% of the reference"),
        ({"fraction_unseen": 0.2}, r"^20% of the cells fit no label\. Find them with `unseen_fdr=0\.1` of `sctab\.tl\.annotate`"),
        ({"fraction_unseen": 0.7}, r"^70% of the cells fit no label, .* most labels would be wrong"),
        ({"leakage": {"expected_recall": 0.3, "false_positive_rate": 0.002}}, r"about 30% of them would be found"),
        ({"promise": replace(PROMISE, note="A limit.")}, r"^A limit\.$"),
        ({"promise": replace(PROMISE, distance=0.2)}, r"^An error of 0\.1 cannot be promised.*distance 0\.20; at most 0\.05"),
    ],
)
def test_warnings(changed, expected):
    (note,) = warnings_of(replace(QUIET, **changed))
    assert re.search(expected, note), note


def test_cells_recognised_by_chance_are_not_leakage():
    assert not list(warnings_of(replace(QUIET, counted=cells(n_learned=5))))


def test_a_refused_query_is_not_also_said_to_be_shifted():
    (note,) = warnings_of(replace(QUIET, fraction_unseen=0.9, shift=0.99))
    assert isinstance(note, Message)
    assert "`--force`" in note.in_shell({})


def test_without_what_the_model_does_not_keep():
    counted = replace(cells(), is_learned=None)
    assert not list(warnings_of(replace(QUIET, counted=counted, shift=None, fraction_unseen=None, leakage={}, promise=None)))


@pytest.mark.parametrize(
    ("changed", "n_warnings", "expected"),
    [
        ({}, 0, "Ready to annotate."),
        ({"types": TYPES.assign(coverage=[0.9, 0.3])}, 1, "Ready to annotate, with 1 warning."),
        ({"fraction_unseen": 0.7, "shift": 0.95}, 2, "Use another model: no label fits 70% of the cells."),
        (
            {"query": SimpleNamespace(notes=(), match=SimpleNamespace(coverage=0.33))},
            1,
            "Annotate with caution: the data has genes with 33% of total importance.",
        ),
        ({"fraction_unseen": 0.31}, 1, "Annotate with caution: no label fits 31% of the cells."),
        ({"counted": cells(n_learned=1000)}, 1, "Annotate with caution: all 1,000 cells were in its training data."),
        ({"counted": cells(n_learned=4)}, 0, "Ready to annotate."),
        (
            {"shift": 0.95, "promise": replace(PROMISE, distance=0.2), "counted": cells(n_learned=500)},
            3,
            "Annotate with caution: the cells are far from the types of the model; an error of 0.1 cannot be promised; 500 of "
            "1,000 cells were in its training data.",
        ),
        ({"shift": None, "fraction_unseen": None, "promise": None}, 0, "Ready to annotate."),
    ],
)
def test_one_verdict(changed, n_warnings, expected):
    assert verdict_on(replace(QUIET, **changed), n_warnings) == expected
