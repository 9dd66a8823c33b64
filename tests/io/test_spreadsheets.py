"""Text that spreadsheets would take for formulas."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from sctab.io._spreadsheets import as_text, from_text, n_marked, write_csv

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x")', "＝1", "－T", "'=1", "''=1"]
HARMLESS = ["CD8+ T cell", "a=b", "", "'quoted'", "B-cell", "1", "α", " =1", "cell_1-2"]


@pytest.mark.parametrize("value", DANGEROUS)
def test_formulas_are_marked_as_text(value):
    assert as_text(value) == f"'{value}"
    assert from_text(as_text(value)) == value


@pytest.mark.parametrize("value", HARMLESS)
def test_all_else_stays_as_it_is(value):
    assert as_text(value) == value == from_text(value)


@given(st.text(st.sampled_from("'=+-@\t\r\nab \uff1d"), max_size=6))
def test_every_value_can_be_read_back(value):
    written = as_text(value)
    assert from_text(written) == value
    assert written[:1] not in set("=+-@\t\r\n\uff1d")


@given(st.lists(st.text("'=-a", max_size=4), unique=True))
def test_two_values_stay_two(values):
    assert len({as_text(value) for value in values}) == len(values)


def test_tables():
    names = [*DANGEROUS, *HARMLESS]
    n = len(names)
    table = pd.DataFrame(
        {
            "label": pd.Categorical(names),
            "text": pd.array(names, dtype="string"),
            "missing": [None, *names[1:]],
            "number": np.linspace(-0.5, 0.5, n),
            "whole": -np.arange(n),
            "code": pd.Categorical(-np.arange(n)),
            "=column": True,
        },
        index=names,
    )
    before = table.copy()
    written = io.StringIO(newline="")
    write_csv(table, written, index_label="cell")
    pd.testing.assert_frame_equal(table, before)  # which is the caller's
    header, *rows = csv.reader(io.StringIO(written.getvalue(), newline=""))
    assert header == ["cell", "label", "text", "missing", "number", "whole", "code", "'=column"]
    for row, name, number in zip(rows, names, table["number"], strict=True):
        for found in row[:3]:
            assert found == as_text(name)
            assert from_text(found) == name
        assert float(row[4]) == number
    assert rows[0][3] == ""
    assert [int(row[5]) for row in rows] == [int(row[6]) for row in rows] == [-i for i in range(n)]
    assert n_marked(names) == len(DANGEROUS)


def test_without_an_index_or_a_header(tmp_path):
    write_csv(pd.DataFrame({"a": ["-x"], "b": [-1.5]}), tmp_path / "a.csv", header=False)
    assert (tmp_path / "a.csv").read_text() == "'-x,-1.5\n"
