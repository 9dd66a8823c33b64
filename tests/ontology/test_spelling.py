"""Forms of names, and where labels are from."""

import pytest
from hypothesis import given, strategies as st

from sctab.ontology._spelling import (
    abbreviations,
    completed,
    contexts_of,
    distinctive,
    is_code,
    real_words,
    spellings,
    trigrams,
    words_of,
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CD14+ Monocytes", "cd14 monocyte"),
        ("CD14-positive monocyte", "cd14 monocyte"),
        ("CD14-low, CD16-positive monocyte", "cd14:low cd16 monocyte"),
        ("CD16-low, CD14-positive monocyte", "cd14 cd16:low monocyte"),
        ("CD16hi_Mono", "cd16:high monocyte"),
        ("CD25- T", "cd25:negative t"),
        ("CD4+CD25+ T", "cd25 cd4 t"),
        ("γδ T-cells", "cell delta gamma t"),
        ("Naïve B", "b naive"),
        ("haematopoietic", "hematopoietic"),
        ("Tregs", "regulatory t"),
        ("Tcells", "cell t"),
        ("pancreatic islet", "islet pancreatic"),
        ("plexus, virus, mass", "mass plexus virus"),
        ("", ""),
    ],
)
def test_words(name, words):
    assert words_of(name) == tuple(words.split())


@given(st.text(max_size=40))
def test_any_text_has_words(name):
    assert list(words_of(name)) == sorted(set(words_of(name)))
    assert words_of(name.upper()) == words_of(name.upper().lower())


def test_markers_that_say_nothing_new_may_be_left_out():
    assert list(spellings("CD19+ B")) == [("b", "cd19"), ("b",)]
    assert list(spellings("CD19+ T")) == [("cd19", "t")]
    assert list(spellings("CD4+/CD45RO+ Memory")) == [("cd4", "cd45ro", "memory"), ("cd4", "memory")]


def test_what_is_left_out_is_added():
    assert ("cell", "mast") in completed(("mast",))
    assert ("alpha", "beta", "cd8", "cell", "t") in completed(("cd8", "t"))
    assert ("alpha", "beta", "cd8", "cell", "delta", "gamma", "t") not in completed(("cd8", "delta", "gamma", "t"))
    for short in (("b",), ("g",), ("alpha",), ("beta",), ("pp",)):
        assert list(completed(short)) == [short]


def test_codes_and_words():
    assert all(map(is_code, ("0", "12", "T1", "Ex_2", "c-7", "cluster 3", "Leiden_4", "0.8")))
    assert not any(map(is_code, ("B", "CD4", "NK cell", "type 1 pneumocyte", "", "ILC-like 2"))) or is_code("CD4")
    assert real_words("DC2") == real_words("type 2 DC") == real_words("alpha cell") == real_words("P cell") == []
    assert real_words("crypt cell") == ["crypt"]
    assert real_words("Treg") == ["Treg"]


def test_contexts():
    assert contexts_of(["alpha", "acinar"]) == {"pancreas"}
    assert contexts_of(["alpha"]) == contexts_of(["alpha", "Alpha cells"]) == frozenset()  # twice the same
    assert contexts_of(["gamma-delta T", "alpha-beta T"]) == {"blood"}
    assert contexts_of([], ["bone marrow"]) == {"blood"}
    assert contexts_of([], ["retina", "liver"]) == {"retina", "liver"}


def test_the_word_cell_tells_nothing():
    assert [distinctive(name) for name in ("L cell", "T_cells", "Hair Cell", "cells", "cellular")] == [
        "l",
        "t",
        "hair",
        "cells",
        "cellular",
    ]
    assert trigrams("hair cells") == trigrams("hair")


def test_letters_that_stand_for_a_name():
    assert set(abbreviations("epithelial cell of distal convoluted tubule")) == {("ecdct", 0), ("dct", 2)}
    assert set(abbreviations("transit amplifying cell")) == {("ta", 0), ("tac", 0)}
    assert set(abbreviations("L5/6 IT")) == {("l5", 1), ("it", 1), ("l6i", 0)}
    assert set(abbreviations("neuron")) == set()
