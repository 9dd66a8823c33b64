"""Cells that no label fits: worked examples, invariances, and rates of errors on simulated data."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.stats import false_discovery_control, kstest, norm
from sklearn.metrics import roc_auc_score
from tests.types_of_cells import N_GENES, NORMALIZATION, draw, learn, programs, reference

from sctab import ModelFormatError
from sctab.data import Normalization, normalise
from sctab.inference._neighbourhoods import Neighbourhoods
from sctab.inference._unseen import (
    LogitTest,
    NeighbourhoodTest,
    SeenTypes,
    distances,
    largest_p_value,
    types_of_arrays,
    types_to_arrays,
)

ALL_GENES = np.ones(N_GENES, dtype=bool)


def score_cells(seen, values, *, found=None, normalization=NORMALIZATION):
    neighbourhoods = Neighbourhoods.learn(values, n_genes=values.shape[1])
    scores = seen.score(values, neighbourhoods, found=ALL_GENES if found is None else found, normalization=normalization)
    return None if scores is None else scores[neighbourhoods.assign(values)]


@pytest.fixture(scope="module")
def seen():
    return learn(*reference())


def test_cells_of_a_type_that_was_not_learned(seen):
    codes = np.arange(400) % 4
    scores = score_cells(seen, draw(programs(), codes, 2))
    assert roc_auc_score(codes == 3, scores) > 0.99


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_most_of_the_query_may_be_of_it(seen, fraction):
    """A query that is centred on its own mean would lose what it looks for."""
    codes = np.where(np.arange(400) < 400 * fraction, 3, 0)
    scores = score_cells(seen, draw(programs(), codes, 2))
    assert roc_auc_score(codes == 3, scores) > 0.99


def test_a_difference_between_datasets_is_not_a_new_type(seen):
    """All genes of the query are measured more or less efficiently than those of the reference."""
    shift = np.exp(np.random.default_rng(3).normal(0, 0.35, size=N_GENES))
    codes = np.arange(400) % 4
    scores = score_cells(seen, draw(programs(), codes, 2, shift=shift))
    assert roc_auc_score(codes == 3, scores) > 0.99
    known = codes < 3
    raw = 1 - np.max(1 - cdist(_profiles(draw(programs(), codes, 2, shift=shift), seen), _directions(seen), "cosine"), axis=1)
    assert np.median(scores[known]) < np.median(raw[known]) / 2


def _directions(seen):
    types = np.log1p(seen.expression)
    return types - types.mean(axis=0)


def _profiles(values, seen):
    means = Neighbourhoods.learn(values, n_genes=N_GENES).mean(values, values[:, seen.genes].expm1())
    return np.log1p(means) - np.log1p(seen.expression).mean(axis=0)


def test_distances_are_cosines_of_scipy():
    """Types at right angles and none that could be trusted: nothing is removed."""
    rng = np.random.default_rng(0)
    types, profiles = rng.normal(size=(3, 8)), rng.normal(size=(5, 8)) + 30 * np.eye(8)[7]
    centre = types.mean(axis=0)
    expected = cdist(profiles - centre, types - centre, "cosine").min(axis=1)
    assert (expected > 0.4).all()
    np.testing.assert_allclose(distances(profiles, types, np.full(5, 10)), expected, rtol=1e-5)


def test_difference_between_datasets_worked_by_hand():
    """Two types at -1 and 1. The nearest quarter of the cells, one neighbourhood of type 1, is 0.2 above it in the second gene.

    Half of that is removed, since one type is the evidence: 0.2 / (1 + 1).
    """
    types = np.array([[-1.0, 0.0], [1.0, 0.0]])
    profiles = np.array([[1.0, 0.2], [0.5, 0.5], [-0.5, 1.0], [0.2, -1.0]])
    expected = [1 - np.cos(np.arctan2(0.1, 1)), 1 - np.cos(np.arctan2(0.4, 0.5)), 1 - np.cos(np.arctan2(0.9, 0.5))]
    expected.append(1 - np.cos(np.arctan2(1.1, 0.2)))
    np.testing.assert_allclose(distances(profiles, types, np.full(4, 30)), expected, rtol=1e-5)
    few = distances(profiles, types, np.full(4, 4))  # of fewer than 20 cells none is estimated
    np.testing.assert_allclose(few[0], 1 - np.cos(np.arctan2(0.2, 1)), rtol=1e-5)


def test_a_profile_without_any_direction_fits_nothing():
    types = np.array([[-1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(distances(np.zeros((1, 2)), types, np.array([50])), 1)


@given(seed=st.integers(0, 99))
def test_order_of_cells_does_not_matter(seen, seed):
    codes = np.arange(200) % 4
    values, order = draw(programs(), codes, seed), np.random.default_rng(seed).permutation(200)
    np.testing.assert_allclose(score_cells(seen, values[order]), score_cells(seen, values)[order], atol=1e-4)


@given(seed=st.integers(0, 99))
def test_order_of_genes_does_not_matter(seed):
    order = np.random.default_rng(seed).permutation(N_GENES)
    values, codes = reference(240)
    query = draw(programs(), np.arange(100) % 4, seed)
    found = score_cells(learn(values[:, order], codes), query[:, order])
    np.testing.assert_allclose(found, score_cells(learn(values, codes), query), atol=1e-3)


@given(target_sum=st.floats(100, 1e6), log1p=st.booleans())
def test_normalisation_of_the_model_does_not_matter(seen, target_sum, log1p):
    """Of twenty cells, all are neighbours of each."""
    values = draw(programs(), np.arange(20) % 4, 5)
    linear = sparse.csr_matrix(values.expm1() * np.float32(target_sum / 1e4))
    found = score_cells(seen, linear.log1p() if log1p else linear, normalization=Normalization(target_sum, log1p))
    np.testing.assert_allclose(found, score_cells(seen, values), atol=1e-4)


def test_a_panel_of_some_of_the_genes(seen):
    """Their sum is all that the query has: its values are higher than those of the reference, and are not a new type for that."""
    codes = np.arange(400) % 4
    counts = sparse.csr_matrix(np.random.default_rng(2).poisson(programs()[codes]).astype(np.float32))
    found = np.arange(N_GENES) % 2 == 0
    panel = normalise(counts.multiply(found).tocsr(), NORMALIZATION)
    scores = score_cells(seen, panel, found=found)
    assert roc_auc_score(codes == 3, scores) > 0.99
    whole = score_cells(seen, normalise(counts, NORMALIZATION))
    assert np.median(scores[codes < 3]) < 2 * np.median(whole[codes < 3])


def test_a_panel_without_markers_gets_no_scores(seen):
    found = np.zeros(N_GENES, dtype=bool)
    found[seen.genes[:9]] = True
    assert score_cells(seen, draw(programs(), np.arange(50) % 3, 0), found=found) is None


def test_a_label_without_cells():
    """It is not compared, and the others are as without it."""
    values, codes = reference()
    found, expected = learn(values, codes, n_labels=4), learn(values, codes)
    np.testing.assert_array_equal(found.genes, expected.genes)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    query = draw(programs(), np.arange(90) % 3, 8)
    np.testing.assert_allclose(score_cells(found, query), score_cells(expected, query), atol=1e-5)


def test_arrays_and_back(seen):
    arrays = seen.to_arrays()
    again = SeenTypes.from_arrays(arrays, n_genes=N_GENES, n_labels=3)
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, getattr(again, name))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("genes", lambda values: values[::-1], "ascending positions"),
        ("genes", lambda values: values + 200, "ascending positions"),
        ("expression", lambda values: values[:2], "not that of 3 labels"),
        ("mean_expression", lambda values: values[:5], "not that of 3 labels"),
        ("scores", lambda values: values[:-1], "differ in number"),
        ("scores", lambda values: values + 3, "too large"),
        ("expression", lambda values: values * np.nan, "NaN or infinite"),
        ("expression", lambda values: -1 - values, "negative"),
    ],
)
def test_arrays_that_cannot_be_right_are_refused(seen, name, change, message):
    arrays = seen.to_arrays()
    with pytest.raises(ValueError, match=message):
        SeenTypes.from_arrays({**arrays, name: change(arrays[name])}, n_genes=N_GENES, n_labels=3)
    with pytest.raises(ValueError, match=f"lack \\['{name}'\\]"):
        SeenTypes.from_arrays({key: arrays[key] for key in arrays if key != name}, n_genes=N_GENES, n_labels=3)


def stored(scores, units):
    ones = np.ones(1, dtype=np.float32)
    return SeenTypes(np.zeros(1, dtype=np.int32), ones[None], ones, np.array(scores, dtype=np.float32), np.array(units))


def test_p_values_worked_by_hand():
    """Of four reference cells, none, one, three and four score as high."""
    seen = stored([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0])
    np.testing.assert_allclose(seen.p_values(np.array([0.5, 0.4, 0.15, 0.0])), [1 / 5, 2 / 5, 4 / 5, 1])


def test_units_count_the_same():
    """The unit of one cell counts as much as that of three: 2 of 4 each, by weight."""
    seen = stored([0.1, 0.2, 0.3, 0.9], [0, 0, 0, 7])
    np.testing.assert_allclose(seen.p_values(np.array([0.5, 0.25])), [(1 + 2) / 5, (1 + 2 + 2 / 3) / 5], rtol=1e-6)


def test_p_values_of_exchangeable_cells_are_uniform():
    rng = np.random.default_rng(0)
    seen = stored(rng.uniform(size=2000), np.zeros(2000))
    assert kstest(seen.p_values(rng.uniform(size=2000)), "uniform").pvalue > 0.01


def test_benjamini_hochberg_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p_values = rng.uniform(size=200) ** rng.uniform(1, 6)
        expected = false_discovery_control(p_values) <= 0.1
        np.testing.assert_array_equal((p_values <= largest_p_value(p_values, 0.1)), expected)


def test_cells_without_a_p_value_are_not_counted():
    p_values = np.array([0.01, np.nan, 0.04, 0.5, np.nan])
    assert (p_values <= largest_p_value(p_values, 0.1)).tolist() == [True, False, True, False, False]
    assert largest_p_value(np.full(3, np.nan), 0.1) == -1
    assert largest_p_value(np.array([0.5, 0.9]), 0.1) == -1


def test_false_discoveries_among_exchangeable_cells():
    """Mean fraction of false ones among the reported, over 200 draws of reference and query with a fifth of high scores."""
    rng = np.random.default_rng(0)
    fractions, powers = [], []
    for _ in range(200):
        seen = stored(rng.normal(5, 1, size=1000).clip(0), np.arange(1000) % 3)
        is_new = np.arange(300) < 60
        p_values = seen.p_values(rng.normal(5, 1, size=300) + 4 * is_new)
        reported = p_values <= largest_p_value(p_values, 0.2)
        fractions.append((reported & ~is_new).sum() / max(reported.sum(), 1))
        powers.append(reported[is_new].mean())
    assert np.mean(fractions) < 0.2 + 2 * np.std(fractions) / np.sqrt(200)
    assert np.mean(powers) > 0.9


def test_known_cells_of_other_donors_are_rarely_reported():
    """The whole way, with donors that differ: no unseen type in the query, so that every report would be false."""
    rng = np.random.default_rng(4)
    donors = np.arange(1200) % 6
    codes = rng.integers(3, size=1200)
    shifts = np.exp(rng.normal(0, 0.1, size=(6, N_GENES)))
    values = draw(programs(), codes, 5, shift=shifts[donors])
    learned = donors < 4
    seen = learn(values[learned], codes[learned], donors[learned])
    p_values = seen.p_values(score_cells(seen, values[~learned]))
    assert (p_values <= largest_p_value(p_values, 0.1)).mean() <= 0.1


def test_without_reference_cells_the_query_is_the_null():
    """Scores are normal, so that p-values are those of the normal distribution; ten cells are far away."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1000, 1, 3)) * 0.01
    height = rng.normal(10, 1, size=1000)
    height[:10] = 0
    logits[:, 0, 1] = height
    found = LogitTest.learn(logits).p_values(None, logits)
    np.testing.assert_allclose(found[10:], norm.sf(10 - height[10:]), atol=0.05)
    assert np.flatnonzero(found <= largest_p_value(found, 0.01)).tolist() == list(range(10))


def test_members_are_averaged():
    logits = np.random.default_rng(0).normal(size=(50, 2, 3))
    means = np.repeat(logits.max(axis=2).mean(axis=1)[:, None, None], 3, axis=2)
    test = LogitTest.learn(logits)
    assert test == LogitTest.learn(means)
    np.testing.assert_allclose(test.p_values(None, logits), test.p_values(None, means))


def test_cells_have_the_p_value_of_their_neighbourhood(seen):
    values = draw(programs(), np.arange(80) % 4, 6)
    neighbourhoods = Neighbourhoods.learn(values, n_genes=N_GENES)
    test = NeighbourhoodTest(neighbourhoods, np.linspace(0, 1, 80, dtype=np.float32))
    order = np.random.default_rng(0).permutation(80)
    np.testing.assert_array_equal(
        test.p_values(values[order], np.zeros((80, 1, 3))), np.linspace(0, 1, 80, dtype=np.float32)[order]
    )


def test_arrays_among_those_of_others(seen):
    arrays = {"backoff.scores": np.ones(3), **types_to_arrays(seen)}
    again = types_of_arrays(arrays, n_genes=N_GENES, n_labels=3)
    np.testing.assert_array_equal(again.scores, seen.scores)
    assert types_of_arrays({"backoff.scores": np.ones(3)}, n_genes=N_GENES, n_labels=3) is None
    del arrays["types.genes"]
    with pytest.raises(
        ModelFormatError, match=r"stored types of the model were changed: .*lack \['genes'\]\. Copy the complete model"
    ):
        types_of_arrays(arrays, n_genes=N_GENES, n_labels=3)
