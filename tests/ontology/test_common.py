"""The table of common short names, against the releases that come with the package."""

import pytest

from sctab.ontology import CellOntology
from sctab.ontology._common import CONFIRM, common_names, everywhere, read_common_names
from sctab.ontology._spelling import CONTEXTS


def test_every_row_has_a_term_of_that_name(ontology):
    for row in read_common_names():
        assert ontology.name(row.term) == row.term_name


def test_older_releases_have_the_terms_too():
    for version in CellOntology.embedded_versions():
        known = [CellOntology.embedded(version).name(row.term) is not None for row in read_common_names()]
        assert sum(known) > 0.95 * len(known)


def test_places_are_known():
    for row in read_common_names():
        assert {row.where} <= {"", CONFIRM, *CONTEXTS}
        assert {row.not_where} <= {"", *CONTEXTS}


def test_no_short_name_is_the_name_of_another_term(ontology):
    own = CellOntology.embedded()
    rows = read_common_names()
    for row in rows:
        beside = [other for other in rows if other.name == row.name]
        where = next((other.where for other in beside if not other.is_own_name and other.where not in ("", CONFIRM)), "")
        found = own.resolve(row.name, contexts={where} if any(other.is_own_name for other in beside) else ())
        assert found.note, row.name  # otherwise it is a term's own name, and the row is of no use
        assert len({other.term for other in beside}) > 1 or not row.is_own_name


def test_names_mean_one_term_in_each_place():
    for row in read_common_names():
        for where in ((), *[(context,) for context in CONTEXTS]):
            assert len({other.term for other in common_names(row.name) if other.holds(where)}) <= 1


@pytest.mark.parametrize("name", ["NKs", "nk", "NK cells"])
def test_other_forms(name):
    assert {row.term for row in common_names(name)} == {"CL:0000623"}
    assert everywhere()["nk"].term == "CL:0000623"
    assert "hsc" not in everywhere()
