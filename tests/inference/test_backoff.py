"""Terms that can be promised: worked by hand, beside `crepes`, and on simulated cells."""

import math

import numpy as np
import pytest
from crepes import ConformalClassifier
from hypothesis import given, strategies as st

from sctab import SettingError
from sctab.inference import Terms
from sctab.inference._backoff import Scores, promise, score_cells, threshold
from sctab.ontology import LabelSpace

LABELS = LabelSpace(names=("a", "b", "c", "d"), ids=(None,) * 4)
TREE = Terms.of(LABELS, {"a": "ab", "b": "ab", "ab": "abc", "c": "abc"})
FLAT = Terms.of(LABELS)
NODE = {name: node for node, name in enumerate(TREE.names)}
CELLS = np.array([[0.6, 0.2, 0.1, 0.1], [0.3, 0.4, 0.25, 0.05], [0.1, 0.1, 0.2, 0.6]])


def scores_of(terms, probabilities, truth):
    n_obs = len(truth)
    return score_cells(terms, np.asarray(probabilities), np.array(truth), np.arange(n_obs), "cell")


def test_scores_by_hand():
    """From `a`: 0.6 at the label, 0.8 at `ab`, 0.9 at `abc`; a cell of `d` is right only at the root."""
    assert scores_of(TREE, CELLS[[0, 0, 0, 0]], [0, 1, 2, 3]).values == pytest.approx([0, 0.6, 0.8, 0.9])
    assert scores_of(TREE, CELLS[[1, 1]], [1, 3]).values == pytest.approx([0, 0.95])
    assert scores_of(TREE, CELLS[[2, 2]], [3, 0]).values == pytest.approx([0, 0.6])


def test_answers_by_hand():
    found = {}
    for limit in (0.0, 0.6, 0.8, 0.9):
        rule = promise(
            TREE, Scores(values=np.full(99, limit), codes=np.zeros(99, dtype=int), units=np.arange(99), unit="cell"), 0.1
        )
        found[limit] = [TREE.names[node] if node >= 0 else None for node in rule.answer(CELLS, CELLS.argmax(axis=1))]
    assert found == {
        0.0: ["a", "b", "d"],
        0.6: ["ab", "ab", None],
        0.8: ["abc", "abc", None],
        0.9: [None, "abc", None],
    }


def test_a_cell_without_a_label_gets_no_term():
    rule = promise(TREE, Scores(values=np.zeros(99), codes=np.zeros(99, dtype=int), units=np.arange(99), unit="cell"), 0.1)
    assert rule.answer(CELLS, np.array([0, -1, 3])).tolist() == [0, -1, 3]


def test_ties_go_to_the_fewest_labels_below():
    """`c` and `d` are impossible: `ab`, `abc` and the label itself have the same probability."""
    scores = scores_of(TREE, [[1.0, 0.0, 0.0, 0.0]], [1])
    assert scores.values.tolist() == [1]
    rule = promise(TREE, Scores(values=np.full(99, 0.99), codes=np.zeros(99, dtype=int), units=np.arange(99), unit="cell"), 0.1)
    assert rule.answer(np.array([[0.5, 0.5, 0.0, 0.0]]), np.array([0])).tolist() == [NODE["ab"]]


def test_upper_envelope_of_labels_of_mixed_granularity():
    """A cell of the broad label `T` is right as `CD4`, and wrong as `odd`, which is above `CD4` too: it must climb to `all`."""
    labels = LabelSpace(names=("CD4", "T", "B", "X"), ids=(None,) * 4)
    below = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 1, 0], [1, 1, 1, 0]], dtype=bool)
    above = np.zeros((6, 6), dtype=bool)
    above[0, [1, 4, 5]] = above[1, 5] = above[4, 5] = above[2, [4, 5]] = True
    terms = Terms(names=(*labels.names, "odd", "all"), ids=(None,) * 6, below=below, above=above)
    probabilities = np.array([[0.5, 0.3, 0.1, 0.1]])  # `odd` is 0.6 and comes before `T`, which is 0.8
    assert score_cells(terms, probabilities, np.array([1]), np.zeros(1), "cell").values == pytest.approx([0.6])
    assert score_cells(terms, probabilities, np.array([0]), np.zeros(1), "cell").values == pytest.approx([0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_threshold_of_single_cells_is_an_order_statistic(values, accepted_error):
    rank = math.ceil((len(values) + 1) * (1 - accepted_error) - 1e-7)
    expected = sorted(values)[rank - 1] if rank <= len(values) else np.inf
    assert threshold(np.array(values), np.arange(len(values)), accepted_error) == expected


def test_threshold_of_donors_by_hand():
    """Three donors have a quarter of the weight each, whatever their number of cells, and the new one the last quarter."""
    values, donors = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9]), np.array([0, 0, 0, 0, 1, 1, 2])
    assert threshold(values, donors, 0.75) == 0.4
    assert threshold(values, donors, 0.6) == 0.6  # 0.25 + 0.125 is below 0.4
    assert threshold(values, donors, 0.5) == 0.6
    assert threshold(values, donors, 0.25) == 0.9
    assert threshold(values, donors, 0.24) == np.inf


def test_flat_labels_as_crepes_accepts_them():
    """Without terms above, a label is reported where its being wrong has a p-value of at most the accepted error."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(4, 0.5), size=400)
    truth = np.array([rng.choice(4, p=row) for row in probabilities])
    scores = scores_of(FLAT, probabilities[:300], truth[:300])
    query = probabilities[300:]
    theirs = ConformalClassifier().fit(scores.values)
    p_values = theirs.predict_p(query.max(axis=1)[:, None], smoothing=False)[:, 0]
    for accepted_error in (0.05, 0.1, 0.3):
        rule = promise(
            FLAT, Scores(values=scores.values, codes=np.zeros(300, dtype=int), units=scores.units, unit="cell"), accepted_error
        )
        np.testing.assert_array_equal(rule.answer(query, query.argmax(axis=1)) >= 0, p_values <= accepted_error)


def drawn(rng, n_obs, sharpness):
    """Probabilities that are too sure, and labels."""
    probabilities = rng.dirichlet(np.full(4, 0.4), size=n_obs)
    truth = (rng.uniform(size=(n_obs, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=3)
    sharp = probabilities**sharpness
    return sharp / sharp.sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize("accepted_error", [0.05, 0.1, 0.2])
def test_the_promise_is_kept_for_new_cells_of_a_model_that_is_too_sure(accepted_error):
    rng, errors = np.random.default_rng(2), []
    for _ in range(30):
        probabilities, truth = drawn(rng, 3000, sharpness=3)
        rule = promise(TREE, scores_of(TREE, probabilities[:1000], truth[:1000]), accepted_error)
        answers = rule.answer(probabilities[1000:], probabilities[1000:].argmax(axis=1))
        errors.append(((answers >= 0) & ~TREE.accepts[answers, truth[1000:]]).mean())
    assert np.mean(errors) <= accepted_error + 0.005
    assert np.mean(errors) >= accepted_error / 3  # and not kept by silence


@pytest.mark.parametrize("accepted_error", [0.2, 0.3])
def test_the_promise_is_kept_for_new_donors(accepted_error):
    """Donors differ in how good the model is for them; their numbers of cells differ too."""
    rng, errors = np.random.default_rng(3), []
    for _ in range(60):
        donors = [drawn(rng, int(rng.integers(50, 400)), sharpness=rng.uniform(1, 6)) for _ in range(7)]
        units = np.repeat(np.arange(6), [len(truth) for _, truth in donors[:6]])
        known = [np.concatenate([donor[part] for donor in donors[:6]]) for part in (0, 1)]
        rule = promise(TREE, score_cells(TREE, known[0], known[1], units, "donor"), accepted_error)
        answers = rule.answer(donors[6][0], donors[6][0].argmax(axis=1))
        errors.append(((answers >= 0) & ~TREE.accepts[answers, donors[6][1]]).mean())
    assert np.mean(errors) <= accepted_error


def test_more_is_accepted_more_is_answered():
    rng = np.random.default_rng(4)
    probabilities, truth = drawn(rng, 2000, sharpness=3)
    scores, codes = scores_of(TREE, probabilities, truth), probabilities.argmax(axis=1)
    n_open = [
        np.append(TREE.n_below, 4)[promise(TREE, scores, error).answer(probabilities, codes)].sum()
        for error in (0.02, 0.1, 0.2, 0.4)
    ]
    assert n_open == sorted(n_open, reverse=True)
    assert n_open[0] > n_open[-1]


def test_few_donors_cannot_promise_little():
    scores = Scores(values=np.linspace(0, 0.9, 40), codes=np.zeros(40, dtype=int), units=np.arange(40) % 4, unit="donor")
    assert scores.smallest_error == 0.2
    assert promise(TREE, scores, 0.2).note == ""
    assert promise(TREE, scores, 0.2).unit == "donor"
    less = promise(TREE, scores, 0.1)
    assert less.unit == "cell"
    assert "With 4 donors to calibrate on, the smallest error that can be promised for a new donor is 0.2." in less.note
    assert "covers other cells of these donors only." in less.note
    none = promise(TREE, scores, 0.01)
    assert "40 held-out cells are too few to promise an error of 0.01: the smallest is 0.025. No term is reported." in none.note
    assert (none.answer(CELLS, CELLS.argmax(axis=1)) == -1).all()


def test_a_lineage_with_many_cells_has_its_own_threshold():
    """Cells of `a` are always right and those of `d` often wrong: the former need not climb for the latter."""
    codes = np.repeat([0, 3], 500)
    values = np.where(codes == 0, 0.0, np.linspace(0.3, 0.9, 1000))
    rule = promise(TREE, Scores(values=values, codes=codes, units=np.arange(1000), unit="cell"), 0.1)
    assert rule.thresholds[NODE["a"]] == 0
    assert rule.thresholds[NODE["d"]] > 0.8
    assert rule.thresholds[NODE["b"]] == rule.thresholds[NODE["c"]]  # that of all cells


@pytest.mark.parametrize("wrong", [0, 1, -0.1, 1.5, float("nan")])
def test_an_error_is_a_fraction(wrong):
    scores = Scores(values=np.zeros(9), codes=np.zeros(9, dtype=int), units=np.arange(9), unit="cell")
    with pytest.raises(SettingError, match="must be above 0 and below 1"):
        promise(TREE, scores, wrong)
