"""What cells are called, from logits."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import entropy

from sctab import ModelFormatError
from sctab.inference import BackOff, Calibration, Decision, Evaluation, Terms, decide
from sctab.ontology import CellOntology, LabelSpace

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


class TestExpectedLabels:
    LOGITS = np.log([[[0.48, 0.3, 0.22]], [[0.1, 0.2, 0.7]], [[0.2, 0.45, 0.35]]])

    def test_the_label_is_one_of_them(self):
        found = decide(evaluation(self.LOGITS), expected=np.array([False, True, True]))
        assert found.codes.tolist() == [1, 2, 1]
        np.testing.assert_allclose(found.confidence, [0.3 / 0.52, 7 / 9, 0.5625], rtol=1e-5)
        np.testing.assert_allclose(found.excluded, [0.48, 0.1, 0.2], rtol=1e-5)
        np.testing.assert_allclose(found.probabilities[0], [0, 0.3 / 0.52, 0.22 / 0.52], rtol=1e-5)
        assert [values.tolist() for values in found.compared] == [[0, 2, 1], pytest.approx([0.48, 0.7, 0.45])]

    def test_a_cell_is_not_forced(self):
        found = decide(evaluation(self.LOGITS), expected=np.array([True, True, False]))
        assert found.codes.tolist() == [0, -1, 1]
        assert found.outside.tolist() == [False, True, False]
        assert np.isnan(found.confidence).tolist() == [False, True, False]
        assert np.isnan(found.probabilities).all(axis=1).tolist() == [False, True, False]

    def test_the_temperature_comes_first(self):
        """At temperature 4 the second cell has less than half of its probability in the excluded label."""
        flat = decide(evaluation(self.LOGITS), Calibration(temperature=4.0), expected=np.array([True, True, False]))
        powers = np.exp(self.LOGITS[1, 0] / 4)
        np.testing.assert_allclose(flat.excluded[1], powers[2] / powers.sum(), rtol=1e-5)
        sharp = decide(evaluation(self.LOGITS), expected=np.array([True, True, False]))
        assert (flat.codes[1], sharp.codes[1]) == (1, -1)

    def test_cells_that_were_not_measured_are_not_outside(self):
        found = decide(evaluation(self.LOGITS, measured=[True, False, True]), expected=np.array([False, True, False]))
        assert found.outside.tolist() == [True, False, True]
        assert found.codes.tolist() == [-1, -1, -1]
        assert np.isnan(found.column(found.excluded)).tolist() == [False, True, False]

    def test_terms_are_those_of_all_labels_or_none(self):
        names = ["B cell", "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"]
        terms = Terms.of(LabelSpace.from_names(names, CellOntology.embedded()))
        backoff = BackOff(terms, np.full(3, 0.4), 0.1, "cell", 9)
        plain = decide(evaluation(self.LOGITS), backoff=backoff)
        assert [terms.names[code] for code in plain.terms] == [names[0], names[2], names[1]]
        found = decide(evaluation(self.LOGITS), backoff=backoff, expected=np.array([False, True, True]))
        assert found.terms.tolist() == [-1, plain.terms[1], plain.terms[2]]  # the label of the first is no B cell
        assert (found.terms == plain.terms).sum() + (found.terms == -1).sum() == 3

    def test_arrays_and_back(self):
        whole = decide(evaluation(self.LOGITS), expected=np.array([True, True, False]))
        again = Decision(**whole.to_arrays(brief=True))
        np.testing.assert_array_equal(again.excluded, whole.excluded)
        np.testing.assert_array_equal(again.compared[0], whole.compared[0])
        assert again.outside.tolist() == whole.outside.tolist()
