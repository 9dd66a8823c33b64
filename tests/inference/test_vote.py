"""Votes of groups: worked by hand, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sctab.inference import Terms, VoteSums, elect
from sctab.ontology import LabelSpace

LABELS = LabelSpace(names=("a", "b", "c", "d"), ids=(None,) * 4)
TREE = Terms.of(LABELS, {"a": "ab", "b": "ab", "ab": "abc", "c": "abc"})
NODE = {name: node for node, name in enumerate(TREE.names)} | {None: -1}
NAME = [*TREE.names, None]


def votes_of(groups, probabilities, terms=None, *, smallest_share=1.0, blocks=1, n_groups=None):
    groups, probabilities = np.asarray(groups), np.asarray(probabilities, dtype=np.float32)
    sums = VoteSums(groups.max(initial=-1) + 1 if n_groups is None else n_groups, 4, 0 if terms is None else len(TREE))
    for rows in np.array_split(np.arange(len(groups)), blocks):
        sums.add(groups[rows], probabilities[rows], None if terms is None else np.array([NODE[name] for name in terms])[rows])
    return elect(sums, TREE, smallest_share=smallest_share)


def test_the_mean_probability_decides():
    """Two cells of three say `b`, and the mean probabilities are 0.5, 0.4, 0.1: not the count of labels, but the evidence."""
    votes = votes_of([0, 0, 0], [[0.7, 0.2, 0.1, 0], [0.4, 0.5, 0.1, 0], [0.4, 0.5, 0.1, 0]])
    assert NAME[votes.labels[0]] == "a"
    assert votes.n_voting.tolist() == [3]
    assert votes.shares == pytest.approx([1 / 3])
    assert NAME[votes.seconds[0]] == "b"
    assert votes.second_shares == pytest.approx([2 / 3])
    assert NAME[votes.commons[0]] == "ab"


def test_one_sure_cell_does_not_outvote_a_group():
    """Its `b` is impossible, so that a product of probabilities would rule out the label of nine cells."""
    votes = votes_of([0] * 10, [[0.1, 0.9, 0, 0]] * 9 + [[1, 0, 0, 0]])
    assert NAME[votes.labels[0]] == "b"
    assert votes.shares == pytest.approx([0.9])


def test_labels_without_a_term_in_common():
    votes = votes_of([0, 0], [[0.9, 0, 0, 0.1], [0, 0, 0.3, 0.7]])
    assert [NAME[votes.labels[0]], NAME[votes.seconds[0]], NAME[votes.commons[0]]] == ["a", "d", None]


def test_a_subtype_agrees():
    labels = LabelSpace(names=("T cell", "CD4-positive, alpha-beta T cell"), ids=("CL:0000084", "CL:0000624"))
    sums = VoteSums(1, 2)
    sums.add(np.zeros(3, dtype=int), np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]))
    votes = elect(sums, Terms.of(labels))
    assert (votes.labels.tolist(), votes.shares.tolist(), votes.seconds.tolist()) == ([0], [1.0], [-1])


def test_terms_by_hand():
    """Terms of four cells: `a` covers one of them, `ab` three, `abc` all."""
    cells = [[0.9, 0.1, 0, 0], [0.6, 0.4, 0, 0], [0.2, 0.8, 0, 0], [0.5, 0.2, 0.3, 0]]
    terms = ["a", "ab", "b", "abc"]
    found = {}
    for share in (0.25, 0.26, 0.75, 0.76, 1.0):
        votes = votes_of([0] * 4, cells, terms, smallest_share=share)
        found[share] = (NAME[votes.terms[0]], votes.term_shares[0])
    assert found == {0.25: ("a", 0.25), 0.26: ("ab", 0.75), 0.75: ("ab", 0.75), 0.76: ("abc", 1.0), 1.0: ("abc", 1.0)}


def test_cells_without_a_term_are_not_covered():
    votes = votes_of([0] * 4, [[0.9, 0.1, 0, 0]] * 4, ["a", "a", "a", None], smallest_share=0.75)
    assert NAME[votes.terms[0]] == "a"
    votes = votes_of([0] * 4, [[0.9, 0.1, 0, 0]] * 4, ["a", "a", "a", None], smallest_share=0.8)
    assert votes.terms.tolist() == [-1]
    assert np.isnan(votes.term_shares).all()


def test_groups_and_cells_that_do_not_vote():
    cells = [[0.9, 0.1, 0, 0], [np.nan] * 4, [np.nan] * 4, [0, 0, 0, 1]]
    votes = votes_of([0, 0, 1, -1], cells, ["a", None, None, "d"], n_groups=3)
    assert votes.n_voting.tolist() == [1, 0, 0]
    assert votes.labels.tolist() == votes.terms.tolist() == [0, -1, -1]
    assert votes.shares[0] == 1
    assert np.isnan(votes.shares[1:]).all()
    assert np.isnan(votes.second_shares[1:]).all()


@st.composite
def groups_of_cells(draw):
    n_obs = draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = rng.dirichlet(np.full(4, draw(st.sampled_from([0.1, 1.0]))), size=n_obs)
    groups = rng.integers(-1, 4, size=n_obs)
    names = np.array([*TREE.names, None], dtype=object)
    return groups, probabilities, names[rng.integers(0, len(names), size=n_obs)], rng


def assert_same(first, second, order=slice(None)):
    for name, values in vars(first).items():
        np.testing.assert_array_equal(values[order], getattr(second, name), err_msg=name)


@given(cells=groups_of_cells(), blocks=st.integers(1, 4))
def test_order_and_blocks_of_cells_do_not_matter(cells, blocks):
    groups, probabilities, terms, rng = cells
    order = rng.permutation(len(groups))
    given_order = votes_of(groups, probabilities, terms, smallest_share=0.7, n_groups=4)
    assert_same(
        given_order, votes_of(groups[order], probabilities[order], terms[order], smallest_share=0.7, blocks=blocks, n_groups=4)
    )


@given(cells=groups_of_cells())
def test_numbers_of_groups_do_not_matter(cells):
    groups, probabilities, terms, rng = cells
    number = rng.permutation(4)
    renamed = np.where(groups >= 0, number[groups], -1)
    assert_same(
        votes_of(groups, probabilities, terms, smallest_share=0.7, n_groups=4),
        votes_of(renamed, probabilities, terms, smallest_share=0.7, n_groups=4),
        np.argsort(number),
    )


@given(cells=groups_of_cells())
def test_a_single_cell_keeps_its_label(cells):
    _, probabilities, _, _ = cells
    votes = votes_of(np.arange(len(probabilities)), probabilities)
    np.testing.assert_array_equal(votes.labels, probabilities.astype(np.float32).argmax(axis=1))
    assert (votes.shares == 1).all()


@given(cells=groups_of_cells(), share=st.floats(0.5, 1.0))
def test_terms_are_on_the_way_up_and_cover_what_they_say(cells, share):
    """The bound that is promised: where a cell's term holds, that of its group does, but for a fraction of the cells."""
    groups, probabilities, terms, _ = cells
    votes = votes_of(groups, probabilities, terms, smallest_share=share, n_groups=4)
    for group in np.flatnonzero(votes.terms >= 0):
        term = votes.terms[group]
        assert TREE.below[term, votes.labels[group]]
        inside = [
            name is not None and set(np.flatnonzero(TREE.below[NODE[name]])) <= set(np.flatnonzero(TREE.below[term]))
            for name in terms[groups == group]
        ]
        assert np.mean(inside) == pytest.approx(votes.term_shares[group])
        assert votes.term_shares[group] >= share - 1e-9
