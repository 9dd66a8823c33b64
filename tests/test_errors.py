"""Errors can be caught as ours and as the builtins that a caller would expect."""

import builtins
import inspect
import re

import pytest

import sctab
from sctab import errors
from sctab.errors import KeyNotFoundError, MissingDependencyError, SctabError, SctabWarning, listing, require

CLASSES = {
    name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, SctabError) and cls is not SctabError
}
DRAWN = re.findall(r"^ {4}.*?[├└]── (\w+) +\((\w+)\)", errors.__doc__, flags=re.MULTILINE)
"""Class and builtin in each line of the tree that the module draws."""


def test_the_tree_that_is_drawn_is_the_tree_that_is():
    assert sorted(name for name, _ in DRAWN) == sorted(CLASSES)


@pytest.mark.parametrize(("name", "builtin"), DRAWN)
def test_each_error_is_ours_and_a_builtin(name, builtin):
    cls = CLASSES[name]
    with pytest.raises(getattr(builtins, builtin)) as caught:
        raise cls("`x` is wrong. Mend it.")
    assert isinstance(caught.value, SctabError)
    assert str(caught.value) == "`x` is wrong. Mend it."


@pytest.mark.parametrize("name", [*CLASSES, "SctabError", "SctabWarning"])
def test_each_can_be_caught_by_a_user(name):
    assert getattr(sctab, name) is getattr(errors, name)
    assert name in sctab.__all__


@pytest.mark.parametrize("name", CLASSES)
def test_each_says_what_it_is_for(name):
    assert inspect.getdoc(CLASSES[name]).endswith(".")


def test_an_output_that_is_there_is_an_output_that_cannot_be_written():
    assert issubclass(sctab.OutputExistsError, sctab.OutputError)


def test_a_warning_of_ours_is_a_user_warning():
    assert issubclass(SctabWarning, UserWarning)
    assert not issubclass(SctabWarning, SctabError)


def test_a_missing_key_is_shown_as_a_sentence():
    assert str(KeyError("`x` not found.")) == "'`x` not found.'"
    assert str(KeyNotFoundError("`x` not found.")) == "`x` not found."
    assert str(KeyNotFoundError()) == ""


class TestRequire:
    def test_what_is_there_is_imported(self):
        assert require("json", extra="x").dumps([1]) == "[1]"
        assert require("os.path", extra="x").sep == "/"

    def test_what_is_missing_is_named_with_its_extra(self):
        message = r"^This needs `no_such_module`, which is not installed\. Install it with `pip install 'sctab\[pictures\]'`\.$"
        with pytest.raises(MissingDependencyError, match=message) as caught:
            require("no_such_module", extra="pictures")
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [
        ([], 10, "none"),
        (["a"], 10, "`a`"),
        (["a", "b"], 2, "`a`, `b`"),
        (["a", "b", "c"], 2, "`a`, `b` and 1 more"),
        (iter(["a", 1]), 10, "`a`, `1`"),
        (range(12), 10, "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9` and 2 more"),
    ],
)
def test_listing(names, most, expected):
    assert listing(names, most=most) == expected
