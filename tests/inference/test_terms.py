"""Terms above labels: of the Cell Ontology, worked by hand, and of hierarchies of the user's own."""

import numpy as np
import pytest

from sctab import SettingError
from sctab.inference import Terms
from sctab.ontology import CellOntology, LabelSpace

BLOOD = ("B cell", "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "natural killer cell", "monocyte")


def blood(names=BLOOD):
    return LabelSpace.from_names(names, CellOntology.embedded())


def own(*names):
    return LabelSpace(names=names, ids=(None,) * len(names))


def above(terms, name):
    return {terms.names[node] for node in np.flatnonzero(terms.above[terms.names.index(name)])}


def below(terms, name):
    return {terms.names[label] for label in np.flatnonzero(terms.below[terms.names.index(name)])}


def test_terms_of_the_ontology():
    terms = Terms.of(blood())
    assert terms.names[:5] == BLOOD
    assert below(terms, "mature alpha-beta T cell") == {BLOOD[1], BLOOD[2]}
    assert below(terms, "lymphocyte") == set(BLOOD[:4])
    assert above(terms, BLOOD[1]) >= {"mature alpha-beta T cell", "lymphocyte"}
    assert "mature alpha-beta T cell" not in above(terms, "B cell")
    assert terms.ids[terms.names.index("lymphocyte")] == "CL:0000542"
    assert terms.n_below[:5].tolist() == [1] * 5


def test_each_set_of_labels_has_one_term_and_none_has_all():
    terms = Terms.of(blood())
    sets = [tuple(row) for row in terms.below]
    assert len(set(sets)) == len(sets)
    assert not terms.below.all(axis=1).any()
    bigger = terms.n_below[None, :] > terms.n_below[:, None]
    assert not (terms.above & ~bigger).any()
    contained = ~(terms.below[:, None, :] & ~terms.below[None, :, :]).any(axis=2)
    assert not (terms.above & ~contained).any()


def test_a_broad_label_is_a_term_above_its_subtypes_and_no_error_of_them():
    terms = Terms.of(blood((*BLOOD, "T cell")))
    broad, fine = terms.names.index("T cell"), terms.names.index(BLOOD[1])
    assert below(terms, "T cell") == {"T cell", BLOOD[1], BLOOD[2]}
    assert "T cell" in above(terms, BLOOD[1])
    assert terms.accepts[broad, fine]
    assert terms.accepts[fine, broad]  # who called it a T cell did not look closer
    assert not terms.accepts[terms.names.index("B cell"), broad]


def test_labels_without_an_id_have_nothing_above():
    terms = Terms.of(own("one", "two"))
    assert len(terms) == 2
    assert not terms.above.any()
    np.testing.assert_array_equal(terms.below, np.eye(2))


def test_labels_that_share_an_id_have_it_above():
    labels = LabelSpace(names=("b", "B lymphocyte", "monocyte"), ids=("CL:0000236", "CL:0000236", "CL:0000576"))
    terms = Terms.of(labels)
    assert above(terms, "b") == {"B cell"} == above(terms, "B lymphocyte")
    assert below(terms, "b") == {"b"}


@pytest.mark.parametrize(
    "hierarchy",
    [
        {"a": "ab", "b": "ab", "ab": "abc", "c": "abc"},
        {"ab": ["a", "b"], "abc": ("a", "b", "c")},
    ],
)
def test_a_hierarchy_of_the_users_own(hierarchy):
    terms = Terms.of(own("a", "b", "c", "d"), hierarchy)
    assert above(terms, "a") == {"ab", "abc"}
    assert above(terms, "c") == {"abc"}
    assert above(terms, "ab") == {"abc"}
    assert above(terms, "d") == set()
    assert below(terms, "abc") == {"a", "b", "c"}
    assert terms.ids == (None,) * len(terms)


def test_a_label_can_be_a_parent():
    terms = Terms.of(own("T", "CD4 T", "B"), {"CD4 T": "T"})
    assert above(terms, "CD4 T") == {"T"}
    assert below(terms, "T") == {"T", "CD4 T"}


def test_a_hierarchy_takes_the_place_of_the_ontology_for_its_labels():
    terms = Terms.of(blood(), {BLOOD[0]: "odd", BLOOD[4]: "odd"})
    assert above(terms, "B cell") == {"odd"}
    assert below(terms, "odd") == {"B cell", "monocyte"}
    assert "mature alpha-beta T cell" in above(terms, BLOOD[1])


@pytest.mark.parametrize(
    ("hierarchy", "message"),
    [
        ({"x": "y"}, "names no label of the model. Its labels are `a`, `b`"),
        ({"a": "p", "p": "q", "q": "p"}, "has `p` above itself"),
        ({"set": ["a", "x"]}, "names `x`, which the model does not have"),
        ({"set": ["a"], "b": "p"}, "both parents and collections"),
    ],
)
def test_what_is_refused(hierarchy, message):
    with pytest.raises(SettingError, match=message):
        Terms.of(own("a", "b"), hierarchy)


def test_terms_that_name_no_type_are_no_answers():
    """In the ontology, a haematopoietic precursor is a cell, and not a eukaryotic cell, which are therefore not above all labels."""
    ontology = CellOntology.embedded()
    labels = LabelSpace.from_names(["platelet", "B cell", "hematopoietic precursor cell", "neuron"], ontology)
    above = {ontology.name(term) for label in labels.ids for term in ontology.ancestors(label)}
    assert {"cell", "eukaryotic cell"} <= above, "or the test shows nothing"
    assert not {"cell", "eukaryotic cell", "nucleate cell"} & set(Terms.of(labels).names)
