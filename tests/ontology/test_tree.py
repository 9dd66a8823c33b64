"""`label_tree`: every term once, groups that do not overlap, parents that the ontology confirms."""

import pytest
from hypothesis import given, strategies as st

from sctab.ontology import CellOntology, label_tree

ONTOLOGY = CellOntology.embedded()
TERMS = sorted(ONTOLOGY.descendants("leukocyte"))


def lines(*names):
    return ["  " * node.depth + node.name for node in label_tree(ONTOLOGY, [ONTOLOGY.find(name) or name for name in names])]


def test_worked_by_hand():
    assert lines("CD8-positive, alpha-beta T cell", "B cell", "CD4-positive, alpha-beta T cell") == [
        "lymphocyte",
        "  B cell",
        "  mature alpha-beta T cell",
        "    CD4-positive, alpha-beta T cell",
        "    CD8-positive, alpha-beta T cell",
    ]


def test_a_type_above_another_one():
    assert lines("B cell", "naive B cell") == ["B cell", "  naive B cell"]


def test_one_type_is_its_own_tree():
    assert lines("B cell") == ["B cell"]


def test_unknown_names_come_last_at_the_top():
    assert lines("z", "B cell", "a") == ["B cell", "a", "z"]


def test_nothing():
    assert label_tree(ONTOLOGY, []) == []


@given(st.lists(st.sampled_from(TERMS), min_size=1, max_size=25, unique=True))
def test_a_tree_of_any_terms(terms):
    nodes = label_tree(ONTOLOGY, terms)
    assert sorted(node.term for node in nodes if node.is_given) == sorted(terms)
    assert len({node.term for node in nodes}) == len(nodes)
    depth = {node.term: node.depth for node in nodes}
    for number, node in enumerate(nodes):
        if node.parent is None:
            assert node.depth == 0
        else:
            assert ONTOLOGY.is_kind_of(node.term, node.parent)
            assert node.depth == depth[node.parent] + 1
            assert node.parent in {other.term for other in nodes[:number]}
        if not node.is_given:
            assert sum(other.parent == node.term for other in nodes) >= 2, "a group of one groups nothing"


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_terms_does_not_matter(reverse):
    assert label_tree(ONTOLOGY, sorted(TERMS[:40], reverse=reverse)) == label_tree(ONTOLOGY, TERMS[:40])
