"""Tables of labels and their parents."""

import pytest

from sctab import DataFileError, LabelError
from sctab.ontology import read_hierarchy


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
