"""Rows of the table of results, against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest

from sctab.benchmark._scores import score

TRUTH = ["B", "B", "T", "T", "NK", "odd"]
PREDICTED = np.array(["B", "T", "T", "T", np.nan, "B"], dtype=object)
PROBABILITIES = pd.DataFrame(
    {"B": [0.9, 0.4, 0.2, 0.2, np.nan, 1], "T": [0.1, 0.6, 0.7, 0.7, np.nan, 0], "NK": [0, 0, 0.1, 0.1, np.nan, 0]}
)


@pytest.fixture
def table():
    learned = pd.Series({"B": 30, "T": 50})
    groups = pd.Series(["x", "y", "x", "y", "x", "y"], name="donor")
    rows = score(TRUTH, PREDICTED, PROBABILITIES, types=["B", "NK", "T"], n_reference=learned, groups=groups)
    return rows.set_index(["metric", "group"])["value"]


def test_only_types_of_the_reference_are_scored(table):
    assert table["n_cells", ""] == 5
    assert not any(group == "type=odd" for _, group in table.index)


def test_of_all_cells(table):
    assert table["accuracy", ""] == pytest.approx(3 / 5)
    f1 = {"B": 2 / 3, "T": 4 / 5, "NK": 0}
    assert table["macro_f1", ""] == pytest.approx(np.mean(list(f1.values())))
    assert table["weighted_f1", ""] == pytest.approx((2 * f1["B"] + 2 * f1["T"] + f1["NK"]) / 5)
    assert table["cross_entropy", ""] == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.7, 1 / 3]).mean())
    # bins of 1/15: 0.9 (right), 0.6 (wrong), 0.7 and 0.7 (right), 1/3 (wrong)
    assert table["ece", ""] == pytest.approx((0.1 + 0.6 + 2 * 0.3 + 1 / 3) / 5)


def test_by_type(table):
    assert table["f1", "type=B"] == pytest.approx(2 / 3)
    assert table["precision", "type=B"] == 1
    assert table["recall", "type=B"] == 0.5
    assert table["n_cells", "type=T"] == 2
    assert [table["n_reference_cells", f"type={name}"] for name in ("B", "T", "NK")] == [30, 50, 0]


def test_by_group(table):
    assert table["accuracy", "donor=x"] == pytest.approx(2 / 3)
    assert table["macro_f1", "donor=y"] == pytest.approx((0 + 2 / 3) / 2)


def test_a_subtype_is_right_along_the_ontology():
    truth = ["T cell", "T cell", "CD4-positive, alpha-beta T cell", "B cell"]
    predicted = np.array(["CD4-positive, alpha-beta T cell", "B cell", "T cell", "B cell"], dtype=object)
    types = sorted({*truth})
    probabilities = pd.DataFrame(np.full((4, 3), 1 / 3), columns=types)
    table = score(truth, predicted, probabilities, types=types, n_reference=pd.Series(dtype=float)).set_index(["metric", "group"])[
        "value"
    ]
    # T cell: one right, one called B, and one too many; CD4: missed; B: one right and one too many
    assert table["macro_f1_corrected", ""] == pytest.approx((2 / 4 + 0 + 2 / 3) / 3)
    assert table["macro_f1", ""] == pytest.approx((0 + 0 + 2 / 3) / 3)
