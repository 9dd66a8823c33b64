"""Columns as categories that are strings."""

import pandas as pd
from tests.annotated import annotated

from sctab.get._annotation import read_annotation
from sctab.get._groups import as_strings, terms_of, with_no_label


def test_values_that_are_written_alike_become_one():
    found = as_strings(pd.Series([1, "1", None, 2.5], dtype=object).astype("category"))
    assert list(found.categories) == ["1", "2.5"]
    assert found.codes.tolist() == [0, 0, -1, 1]


def test_cells_without_a_type_are_one():
    assert list(with_no_label(as_strings(pd.Series(["a", None])))) == ["a", "no label"]
    assert list(with_no_label(as_strings(pd.Series(["no label", None])))) == ["no label", "no label"]


def test_terms_of_labels_come_from_the_model():
    read = read_annotation(annotated(names=("B cell", "my own"), sizes=(1, 1)), "sctab", None)
    assert terms_of(["B cell", "my own", "T cell"], read) == {"B cell": "CL:0000236", "my own": "my own", "T cell": "CL:0000084"}
