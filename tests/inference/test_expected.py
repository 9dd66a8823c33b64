"""Labels that can occur, and probabilities that are restricted to them."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from sctab import SettingError
from sctab.inference import Expected, restrict
from sctab.ontology import CellOntology, LabelSpace

NAMES = ("B cell", "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "monocyte", "my type")


@pytest.fixture(scope="module")
def labels():
    return LabelSpace.from_names(NAMES, CellOntology.embedded())


def allowed(labels, requested):
    return Expected.of(labels, requested).names(labels)


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        ("T cell", NAMES[1:3]),
        ("CL:0000084", NAMES[1:3]),
        (["t cells", "b CELL"], NAMES[:3]),
        ("lymphocyte", NAMES[:3]),
        (["MY TYPE"], NAMES[4:]),
        ("CD14-positive monocyte", NAMES[3:4]),  # of which the model knows the type above
        (("T cell", "hepatocyte"), NAMES[1:3]),
    ],
)
def test_names_ids_and_terms_with_all_below(labels, requested, found):
    assert allowed(labels, requested) == list(found)


def test_a_label_of_the_model_includes_its_subtypes():
    labels = LabelSpace.from_names(["T cell", "CD4-positive, alpha-beta T cell", "B cell"], CellOntology.embedded())
    assert allowed(labels, "T cell") == ["T cell", "CD4-positive, alpha-beta T cell"]
    assert allowed(labels, "CD4-positive, alpha-beta T cell") == ["CD4-positive, alpha-beta T cell"]


def test_of_labels_above_a_finer_type_the_closest_is_expected():
    labels = LabelSpace.from_names(["leukocyte", "monocyte", "B cell"], CellOntology.embedded())
    assert allowed(labels, "CD14-positive monocyte") == ["monocyte"]


def test_what_was_read_otherwise_is_told(labels):
    notes = " ".join(Expected.of(labels, ["B lymphocyte", "CD14-positive monocyte", "hepatocyte"]).notes)
    assert "`B lymphocyte` is read as `B cell` (`CL:0000236`)" in notes
    assert "only broader labels for 1 of 3 expected types: `CD14-positive monocyte` as `monocyte`" in notes
    assert "no label for 1 of 3 expected types, and cells of them get none that is right: `hepatocyte`" in notes
    assert "without a Cell Ontology id are below no term, and are excluded unless they are named: `my type`" in notes
    assert Expected.of(labels, ["B cell", "my type"]).notes == ()


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("hepatocyte", "names `hepatocyte`, and the model has no label for it.*Use a model that has"),
        (["hepatocyte", "neuron"], "no label for any of them"),
        ("Tcel", "names `Tcel`, which is neither a label of the model nor certain in the Cell Ontology"),
        ("mature eosinofil", "the nearest names? (is|are) `mature eosinophil`"),
        ("tissue:lung", r"`labels='tissue:lung'` is a tissue, and .* do not say which types occur in which tissue. Name the types"),
        ([], "must be names of types"),
        ("", "must be names of types"),
        ([3], "must be names of types"),
        (3, "must be names of types"),
        (["T cell", None], "must be names of types"),
        ([["T cell"]], "must be names of types"),
    ],
)
def test_refusals(labels, requested, message):
    with pytest.raises(SettingError, match=message):
        Expected.of(labels, requested)


def test_one_unknown_name_among_others_is_refused(labels):
    """Otherwise its cells would be excluded without a word."""
    with pytest.raises(SettingError, match="names `Zcel`"):
        Expected.of(labels, ["T cell", "Zcel"])


def test_restricted_by_hand():
    kept, excluded, outside = restrict(
        np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.25, 0.25, 0.5]]), np.array([True, True, False])
    )
    np.testing.assert_allclose(kept[[0, 2]], [[0.625, 0.375, 0], [0.5, 0.5, 0]])
    assert np.isnan(kept[1]).all()
    np.testing.assert_allclose(excluded, [0.2, 0.8, 0.5])
    assert outside.tolist() == [False, True, False]


def test_a_cell_without_any_expected_probability_is_outside():
    kept, excluded, outside = restrict(np.array([[0.0, 1.0]], dtype=np.float32), np.array([True, False]))
    assert np.isnan(kept).all()
    assert (excluded.tolist(), outside.tolist()) == ([1.0], [True])
    assert kept.dtype == excluded.dtype == np.float32


@given(
    hnp.arrays(np.float64, (7, 4), elements=st.floats(0.01, 1)),
    hnp.arrays(bool, 4).filter(lambda mask: mask.any()),
)
def test_odds_among_expected_labels_stay(values, mask):
    """Restricting is conditioning: ratios are kept, rows sum to one, and restricting again changes nothing."""
    probabilities = values / values.sum(axis=1, keepdims=True)
    kept, excluded, outside = restrict(probabilities, mask)
    inside = kept[~outside]
    np.testing.assert_allclose(inside.sum(axis=1), 1)
    np.testing.assert_allclose(inside * (1 - excluded[~outside])[:, None], np.where(mask, probabilities[~outside], 0))
    again, nothing, none = restrict(inside, mask)
    np.testing.assert_allclose(again, inside)
    np.testing.assert_allclose(nothing, 0)
    assert not none.any()


def test_all_labels_change_nothing():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], size=5).astype(np.float32)
    kept, excluded, outside = restrict(probabilities, np.ones(3, dtype=bool))
    np.testing.assert_array_equal(kept, probabilities)
    assert not excluded.any()
    assert not outside.any()
