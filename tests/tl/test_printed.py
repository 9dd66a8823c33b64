"""An evaluation on a terminal of 80 characters."""

import numpy as np
import pandas as pd
import pytest

from sctab.tl._printed import print_scores

LEVELS = ["shared", "as labelled", "corrected"]


@pytest.fixture
def result():
    overall = pd.DataFrame({"metric": "accuracy", "level": LEVELS, "value": [0.9, 0.8, 0.85], "low": np.nan, "high": np.nan})
    types = pd.DataFrame(
        {"type": "B cell", "level": LEVELS, "cells": 7, "predicted": 6, "precision": 0.5, "recall": 0.25, "f1": [0.3, 0.4, 0.5]}
    )
    levels = pd.DataFrame({"type": ["B cell"], "level": ["the same"]})
    rows = [
        ("all", "", 30, 0.25, 0.2, 0.3, 0.6, 0.1, 2.5),
        ("mean over donors", "", 30, 0.15, 0.1, 0.2, 0.625, 0.125, 2.25),
        ("donor", "a", 10, 0.1, np.nan, np.nan, 0.7, 0.0, 1.5),
        ("donor", "b", 20, 0.2, np.nan, np.nan, 0.55, 0.25, 3.0),
        ("type", "CD16-negative, CD56-bright natural killer cell, human", 30, 0.25, np.nan, np.nan, 0.6, 0.1, 2.5),
    ]
    promise = pd.DataFrame(rows, columns=["over", "name", "cells", "error", "low", "high", "leaf", "open", "n_labels_below"])
    promise = promise.assign(accepted_error=0.2, kept=promise["error"] <= 0.2)
    return {"overall": overall, "types": types, "levels": levels, "promise": promise}


def printed(result, unit, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_scores(result, {"promise": {"unit": unit}})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def words_of(lines):
    return " ".join(" ".join(lines).split())


def test_the_promise_is_for_the_mean_over_donors(result, capsys, monkeypatch):
    lines = printed(result, "donor", capsys, monkeypatch)
    assert (
        "Promised terms: mean error over donors 0.150 (0.100 to 0.200), accepted 0.2 for new donors. The promise was kept."
        in words_of(lines)
    )
    (heading,) = (i for i, line in enumerate(lines) if line.startswith("terms"))
    assert lines[heading].split() == ["terms", "cells", "error", "leaf", "open", "labels", "below"]
    rows = [line.split() for line in lines[heading + 1 :]]
    assert rows[0] == ["all", "30", "0.250", "0.600", "0.100", "2.50"]
    assert rows[1] == ["mean", "over", "donors", "30", "0.150", "0.625", "0.125", "2.25"]
    assert [row[1] for row in rows[2:4]] == ["b", "a"]  # the largest first
    assert "leaf, with a term that is a single label; open, without a term." in words_of(lines)


def test_a_promise_for_cells_of_the_same_donors(result, capsys, monkeypatch):
    assert (
        "Promised terms: error 0.250 (0.200 to 0.300), accepted 0.2 for cells like those of the calibration. The promise was not kept."
        in words_of(printed(result, "cell", capsys, monkeypatch))
    )


def test_one_donor_says_little_of_a_mean_over_donors(result, capsys, monkeypatch):
    result["promise"] = result["promise"].drop(3)
    told = words_of(printed(result, "donor", capsys, monkeypatch))
    assert "error 0.150 in one donor; 0.2 was accepted on average over new donors, of whom one says little." in told
    assert "kept" not in told
    print_scores(result, {"promise": {"unit": "donor", "is_kept": False}})
    assert "The promise was withdrawn." in words_of(capsys.readouterr().out.splitlines())


def test_without_donors(result, capsys, monkeypatch):
    result["promise"] = result["promise"].iloc[[0, 4]].assign(low=np.nan, high=np.nan)
    assert "Promised terms: error 0.250, accepted 0.2 for new datasets. The promise was not kept." in words_of(
        printed(result, "dataset", capsys, monkeypatch)
    )


def test_without_terms(result, capsys, monkeypatch):
    del result["promise"]
    lines = printed(result, "donor", capsys, monkeypatch)
    assert not any("romise" in line for line in lines)
    assert ["accuracy", "0.900", "0.800", "0.850"] in [line.split() for line in lines]
    assert ["B", "cell", "7", "6", "0.400", "0.500", "0.250", "0.500"] in [line.split() for line in lines]


def test_intervals_are_named_where_there_are_any(result, capsys, monkeypatch):
    assert "In brackets" not in words_of(printed(result, "donor", capsys, monkeypatch))
    result["overall"] = result["overall"].assign(low=0.7, high=0.95)
    assert "In brackets: 95% intervals." in words_of(printed(result, "donor", capsys, monkeypatch))


def test_equal_levels_are_shown_once(result, capsys, monkeypatch):
    del result["promise"]
    result["overall"]["value"] = [0.9, 0.8, 0.8]
    heading, row, *_ = [line for line in printed(result, "donor", capsys, monkeypatch) if "cc" in line or "level" in line]
    assert heading.split() == ["score", "shared", "level", "as", "labelled", "and", "corrected"]
    assert row.split() == ["accuracy", "0.900", "0.800"]
    result["overall"]["value"], result["types"]["f1"] = 0.9, 0.5
    result["groups"] = result["types"].assign(key="donor", group="a", accuracy=0.5, macro_f1=0.75)
    lines = [line.split() for line in printed(result, "donor", capsys, monkeypatch) if line]
    assert lines == [
        ["score", "at", "every", "level"],
        ["accuracy", "0.900"],
        ["type", "cells", "predicted", "precision", "recall", "F1"],
        ["B", "cell", "7", "6", "0.500", "0.250", "0.500"],
        ["key", "group", "cells", "accuracy", "macro", "F1"],
        ["donor", "a", "7", "0.500", "0.750"],
    ]


def test_levels_that_are_equal_apart(result, capsys, monkeypatch):
    del result["promise"]
    result["overall"]["value"] = [0.9, 0.8, 0.9]
    heading = next(line for line in printed(result, "donor", capsys, monkeypatch) if "level" in line)
    assert heading.split() == ["score", "shared", "level", "and", "corrected", "as", "labelled"]


def test_a_promise_that_was_withdrawn(result, capsys, monkeypatch):
    print_scores(result, {"promise": {"unit": "donor", "is_kept": np.False_}})
    assert "accepted 0.2 for new donors. The promise was withdrawn." in words_of(capsys.readouterr().out.splitlines())


def test_the_error_of_the_most_confident_cells(result, capsys, monkeypatch):
    rows = [("shared", share, share / 5) for share in (0.1, 0.5, 0.81, 0.9, 1.0)]
    result["abstention"] = pd.DataFrame([("corrected", 1.0, 0.0), *rows], columns=["level", "answered", "error"])
    told = words_of(printed(result, "donor", capsys, monkeypatch))
    assert (
        "Error at the shared level: 0.100 of the most confident 50%, 0.162 of the most confident 81%, 0.180 of the most confident "
        "90%, 0.200 of all cells."
    ) in told


def test_reports_of_unseen_types(result, capsys, monkeypatch):
    rows = [("known types", 90, 0.01, np.nan), ("unknown types", 10, 0.7, 0.95), ("type", 10, 0.7, 0.95)]
    result["unseen"] = pd.DataFrame(rows, columns=["over", "cells", "reported", "auroc"])
    told = words_of(printed(result, "donor", capsys, monkeypatch))
    assert "Reported as unseen: 0.010 of 90 cells of known types, 0.700 of 10 cells of unknown types (AUROC 0.950)." in told
