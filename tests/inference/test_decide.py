"""What cells are called, from logits."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import entropy

from sctab import ModelFormatError
from sctab.inference import Decision, Evaluation, decide

NAN = float("nan")


def evaluation(logits, measured=None, latent=None):
    logits = np.asarray(logits, dtype=np.float32)
    return Evaluation(logits, latent, np.ones(len(logits), dtype=bool) if measured is None else np.array(measured))


def test_the_most_probable_label():
    found = decide(evaluation([[[0.0, 2.0, 1.0]], [[3.0, 0.0, 0.0]]]))
    assert found.codes.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence, np.exp([log_softmax([0, 2, 1])[1], log_softmax([3, 0, 0])[0]]), rtol=1e-6)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert found.labels(["a", "b", "c"]).tolist() == ["b", "a"]
    assert found.expected_entropy is None
    assert found.mutual_information is None


def test_members_vote_with_their_probabilities_not_with_their_logits():
    """The mean of the logits would give label 0."""
    found = decide(evaluation([[[9.0, 0.0], [0.0, 3.0], [0.0, 3.0]]]))
    of_members = np.exp(log_softmax([[9, 0], [0, 3], [0, 3]], axis=1))
    np.testing.assert_allclose(found.probabilities, [of_members.mean(axis=0)], rtol=1e-6)
    assert found.codes.tolist() == [1]
    expected = entropy(of_members, axis=1).mean()
    np.testing.assert_allclose(found.expected_entropy, [expected], rtol=1e-5)
    np.testing.assert_allclose(found.mutual_information, [entropy(of_members.mean(axis=0)) - expected], rtol=1e-5)


def test_cells_that_were_not_measured_have_no_label():
    found = decide(evaluation([[[0.0, 2.0]], [[NAN, NAN]], [[5.0, 0.0]]], measured=[True, False, False]))
    assert found.codes.tolist() == [1, -1, -1]
    assert found.measured.tolist() == [True, False, False]
    labels = found.labels(["a", "b"])
    assert labels[0] == "b"
    assert np.isnan(labels[1])
    assert np.isnan(found.column(found.confidence)).tolist() == [False, True, True]
    assert np.isnan(found.column(found.probabilities)).tolist() == [[False] * 2, [True] * 2, [True] * 2]
    assert found.column(None) is None


def test_a_model_that_gives_nan_is_refused():
    with pytest.raises(ModelFormatError, match="gives NaN for cells that have counts.*diverged.*lower `learning_rate`"):
        decide(evaluation([[[0.0, 2.0]], [[NAN, NAN]]]))


def test_p_values_of_the_test_for_unseen_types():
    """They are kept beside the label, which does not depend on them."""
    p_values = np.array([0.5, 0.01], dtype=np.float32)
    plain = evaluation([[[0.0, 2.0]], [[3.0, 0.0]]])
    tested = Evaluation(plain.logits, None, plain.measured, p_values)
    assert decide(plain).unseen is None
    np.testing.assert_array_equal(decide(tested).unseen, p_values)
    np.testing.assert_array_equal(decide(tested).codes, decide(plain).codes)
    assert set(decide(tested).to_arrays(brief=True)) == {"codes", "confidence", "measured", "unseen"}


def test_arrays_and_back():
    whole = decide(evaluation([[[0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.5]]], latent=np.ones((2, 3), dtype=np.float32)))
    brief = whole.to_arrays(brief=True)
    assert set(brief) == {"codes", "confidence", "measured", "expected_entropy", "mutual_information"}
    again = Decision(**whole.to_arrays())
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    joined = Decision.join([Decision(**brief), Decision(**brief)])
    assert joined.codes.tolist() == [*whole.codes, *whole.codes]
    assert joined.probabilities is None
