"""Tables of labels and their parents."""

import numpy as np
import pandas as pd
import pytest

from sctab import DataFileError, InputTypeError, LabelError
from sctab.ontology import as_hierarchy, read_hierarchy


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "child\tparent\na\tab\nb\tab\n\tx\nc\t\n"),
        ("a.csv", "# mine\nparent,note,child\nab,one,a\nab,two,b\n"),
        ("a.csv", "label,parent\n a , ab \nb,ab\na,ab\n"),
        ("a.txt", "Mine;Above\na;ab\nb;ab\n"),
    ],
)
def test_tables(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_hierarchy(tmp_path / name) == {"a": "ab", "b": "ab"}


def test_two_parents_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("child,parent\na,x\na,y\n")
    with pytest.raises(LabelError, match="gives `a` two parents: `x`, `y`"):
        read_hierarchy(tmp_path / "a.csv")


def test_one_column_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("child\na\n")
    with pytest.raises(DataFileError, match="1 column"):
        read_hierarchy(tmp_path / "a.csv")


def test_no_file_is_refused(tmp_path):
    with pytest.raises(DataFileError, match="not a file"):
        read_hierarchy(tmp_path / "none.csv")


class TestAsHierarchy:
    def test_a_mapping_is_taken_as_it_is(self):
        for mapping in ({"a": "ab", "b": "ab"}, {"ab": ["a", "b"]}, {"ab": {"a"}}):
            assert as_hierarchy(mapping) is mapping

    def test_a_file(self, tmp_path):
        (tmp_path / "a.csv").write_text("child,parent\na,ab\n")
        assert as_hierarchy(tmp_path / "a.csv") == as_hierarchy(str(tmp_path / "a.csv")) == {"a": "ab"}

    @pytest.mark.parametrize("dtype", ["str", "object", "category"])
    def test_a_table(self, dtype):
        table = pd.DataFrame({"parent": ["ab", "ab", None], "note": [1, 2, 3], "child": ["a", "b", "ab"]})
        assert as_hierarchy(table.astype({"parent": dtype, "child": dtype})) == {"a": "ab", "b": "ab"}

    @pytest.mark.parametrize(
        ("hierarchy", "message"),
        [
            ([("a", "ab")], r"`label_hierarchy` is a list. Give a mapping of labels to parents, or a table"),
            (3, "is a int"),
            ({"a": None}, "has None for 'a'. Give the name of its parent"),
            ({"a": np.nan}, "has nan for 'a'"),
            ({"a": ["b", 1]}, r"has \['b', 1\] for 'a'"),
            ({1: "b"}, "has 'b' for 1"),
        ],
    )
    def test_anything_else_is_refused(self, hierarchy, message):
        with pytest.raises(InputTypeError, match=message):
            as_hierarchy(hierarchy)

    def test_a_table_with_two_parents_or_one_column_is_refused(self):
        table = pd.DataFrame({"child": ["a", "a"], "parent": ["x", "y"]})
        with pytest.raises(LabelError, match="`label_hierarchy` gives `a` two parents: `x`, `y`"):
            as_hierarchy(table)
        with pytest.raises(DataFileError, match="`label_hierarchy` has 1 column"):
            as_hierarchy(table[["child"]])
