"""Short and everyday names of cell types, a table that comes with the package: `common_names.tsv`."""

from __future__ import annotations

import csv
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

from sctab.ontology import _spelling

CONFIRM = "confirm"
"""Place of names that have several meanings, and none by themselves."""


class CommonName(NamedTuple):
    """A common name, and the term that it means."""

    name: str
    term: str
    term_name: str
    where: str
    not_where: str

    @property
    def is_own_name(self) -> bool:
        """Return whether it is the term's own name, which authors give to another type as well."""
        return self.name == self.term_name

    def holds(self, contexts: Collection[str]) -> bool:
        """Return whether the name means the term where labels are from, see :func:`sctab.ontology._spelling.contexts_of`."""
        return (not self.where or self.where in contexts) and self.not_where not in contexts


@cache
def read_common_names() -> tuple[CommonName, ...]:
    """All rows of the table."""
    text = (files("sctab.ontology") / "common_names.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(CommonName(*row) for row in csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))


def common_names(name: str) -> tuple[CommonName, ...]:
    """Rows whose name has the words of a label, in any form and order; of a mixture of types, rows with just that name."""
    if _spelling.is_mixture(name):
        return tuple(row for row in read_common_names() if _spelling.singular(row.name) == _spelling.singular(name))
    found = (_by_words().get(words, ()) for words in _spelling.spellings(name))
    return tuple(chain.from_iterable(next(((rows,) for rows in found if rows), ())))


@cache
def everywhere() -> dict[str, CommonName]:
    """Names that mean one term wherever they are used, by :func:`sctab.ontology._spelling.key`."""
    return {_spelling.key(row.name): row for row in read_common_names() if not row.where and not row.not_where}


@cache
def _by_words() -> dict[_spelling.Words, tuple[CommonName, ...]]:
    rows: dict[_spelling.Words, tuple[CommonName, ...]] = {}
    for row in read_common_names():
        words = _spelling.words_of(row.name)
        if row.name not in {other.name for other in rows.get(words, ())} and words in rows and row.where != CONFIRM:
            continue  # another form of an existing name
        rows[words] = (*rows.get(words, ()), row)
    return rows
