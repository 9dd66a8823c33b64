"""Labels of several sources for the same cells: mapped, compared, and their lowest common term."""

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from sctab import LabelError
from sctab.ontology import CellOntology, Consensus, MappedLabels
from sctab.ontology._consensus import Agreement, CommonTerms

ONTOLOGY = CellOntology.embedded()
NAMES = [
    "T cell",
    "CD4-positive, alpha-beta T cell",
    "CD8-positive, alpha-beta T cell",
    "B cell",
    "monocyte",
    "CD14-positive monocyte",
    "hepatocyte",
    "natural killer cell",
]
TERMS = [ONTOLOGY.find(name) for name in NAMES]


def term(name):
    return ONTOLOGY.find(name)


def mapped(values, **kwargs):
    return MappedLabels.of(pd.Series(values), ONTOLOGY, **kwargs)


class TestMapping:
    def test_names_synonyms_plurals_and_ids(self):
        found = mapped(["B cells", "CL:0000084", "CD14+ Monocytes", "B lymphocyte", "B cells"])
        assert dict(zip(found.labels, found.terms, strict=True)) == {
            "B cells": term("B cell"),
            "B lymphocyte": term("B cell"),
            "CD14+ Monocytes": term("CD14-positive monocyte"),
            "CL:0000084": term("T cell"),
        }
        assert [found.labels[code] for code in found.codes] == [
            "B cells",
            "CL:0000084",
            "CD14+ Monocytes",
            "B lymphocyte",
            "B cells",
        ]
        assert found.counts().tolist() == [2, 1, 1, 1]
        assert "is read as `B cell`" in found.notes["B lymphocyte"]

    def test_missing_is_missing(self):
        found = mapped(["B cell", None, np.nan, "nan", "", "Unknown", "unassigned"])
        assert found.codes.tolist()[:5] == [0, -1, -1, -1, -1]
        assert found.says_none == {"unassigned"} or found.says_none == {"Unknown", "unassigned"}
        assert found.unmapped == ()
        assert [found.terms[code] if code >= 0 else None for code in found.codes[5:]] == [None, None]

    def test_what_is_not_certain_has_no_term_and_nearest_names(self):
        found = mapped(["mature eosinofil", "cluster 7"])
        assert found.unmapped == ("cluster 7", "mature eosinofil")
        assert "`mature eosinophil`" in found.notes["mature eosinofil"]
        assert not found.has_terms

    def test_given_ids_go_first(self):
        found = mapped(["B cell", "mine"], label_ids={"mine": "CL:0000084", "B cell": None, "absent": "CL:0000236"})
        assert dict(zip(found.labels, found.terms, strict=True)) == {"B cell": None, "mine": term("T cell")}
        with pytest.raises(LabelError, match="not in the Cell Ontology"):
            mapped(["mine"], label_ids={"mine": "CL:9999999"})

    def test_numbers_and_categories(self):
        assert mapped([1, 2, 1]).labels == ("1", "2")
        categories = pd.Categorical(["B cell", None], categories=["B cell", "T cell"])
        assert mapped(categories).labels == ("B cell",)


class TestAgreementByHand:
    """Terms that occur: two kinds of T cell, T cell, B cell, two monocytes, hepatocyte, NK: 8, of which siblings may leave 4 open."""

    @pytest.mark.parametrize(
        ("labels", "kind", "answer"),
        [
            (["B cell", "B cell"], "same", "B cell"),
            (["T cell", "CD4-positive, alpha-beta T cell"], "nested", "T cell"),
            (["CD4-positive, alpha-beta T cell", "T cell", "CD4-positive, alpha-beta T cell"], "nested", "T cell"),
            (["CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"], "siblings", "mature alpha-beta T cell"),
            (["CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "T cell"], "siblings", "T cell"),
            (["T cell", "B cell"], "conflict", None),  # lymphocytes are 5 of the 8
            (["hepatocyte", "B cell"], "conflict", None),
            (["B cell", None], "single", "B cell"),
            ([None, None], None, None),
        ],
    )
    def test_kinds(self, labels, kind, answer):
        common = CommonTerms.of(ONTOLOGY, TERMS)
        found = common.agree([None if label is None else term(label) for label in labels])
        assert found.kind == kind
        assert found.term == (None if answer is None else term(answer))

    def test_labels_that_are_left_open(self):
        common = CommonTerms.of(ONTOLOGY, TERMS)
        assert common.agree([term("T cell")] * 2).n_labels_below == 3
        assert common.agree([term("CD4-positive, alpha-beta T cell"), term("CD8-positive, alpha-beta T cell")]).n_labels_below == 2
        assert common.agree([term("B cell"), term("hepatocyte")]).n_labels_below == 0

    def test_a_limit_holds_for_every_answer(self):
        narrow, wide = (CommonTerms.of(ONTOLOGY, TERMS, most) for most in (2, 5))
        assert narrow.agree([term("T cell")] * 2) == Agreement("same", None, 0)
        assert narrow.agree([term("T cell"), term("CD8-positive, alpha-beta T cell")]) == Agreement("nested", None, 0)
        assert wide.agree([term("T cell"), term("B cell")]) == Agreement("siblings", term("lymphocyte"), 5)

    def test_the_root_says_nothing(self):
        common = CommonTerms.of(ONTOLOGY, [*TERMS, "CL:0000000"], 100)
        assert common.agree(["CL:0000000", term("B cell")]) == Agreement("nested", None, 0)
        assert common.agree([term("hepatocyte"), term("B cell")]).term != "CL:0000000"


@settings(deadline=None)
@given(st.lists(st.sampled_from(TERMS), min_size=1, max_size=4), st.integers(1, 9))
def test_the_answer_is_above_every_label_and_nothing_lower_is(terms, most):
    """Against a search through all terms of the ontology; the order of the sources does not matter."""
    common = CommonTerms.of(ONTOLOGY, TERMS, most)
    found = common.agree(terms)
    assert found == common.agree(terms[::-1])
    above = reduce(frozenset.__and__, (ONTOLOGY.ancestors(each) | {each} for each in terms)) - {"CL:0000000"}
    allowed = {each for each in above if sum(ONTOLOGY.is_kind_of(other, each) for other in TERMS) <= most}
    if found.term is None:
        lowest = {each for each in above if not any(each in ONTOLOGY.ancestors(other) for other in above)}
        assert not lowest & allowed
    else:
        assert found.term in allowed
        assert not any(found.term in ONTOLOGY.ancestors(other) for other in above)


class TestConsensus:
    @pytest.fixture
    def found(self):
        first = mapped(["T cell", "B cell", "monocyte", None, "hepatocyte", "mine", "unassigned"])
        second = mapped(["CD4 T cells", "B cells", "CD8 T cells", None, None, "B cell", "B cell"])
        return Consensus.of({"cells": first, "other": second}, ONTOLOGY)

    def test_columns(self, found):
        columns = found.columns()
        assert list(columns["agreement"].astype(object))[:3] == ["nested", "same", "conflict"]
        terms = list(columns["term"].astype(object))
        assert terms[:2] == ["T cell", "B cell"]
        assert pd.isna(terms[2:4]).all()  # never a word that says so
        assert terms[4:] == ["hepatocyte", "B cell", "B cell"]
        assert list(columns["agreement"].astype(object))[4:] == ["single", "single", "single"]
        assert columns["id"][0] == "CL:0000084"
        assert np.isnan(columns["n_labels_below"]).tolist() == [False, False, True, True, False, False, False]

    def test_tables(self, found):
        combinations = found.combination_table()
        assert list(combinations.columns) == ["cells (label)", "other", "cells", "agreement", "term", "id", "n_labels_below"]
        assert combinations["cells"].sum() == 7
        agreement = found.agreement_table().set_index("agreement")["cells"]
        assert agreement.to_dict() == {"same": 1, "nested": 1, "siblings": 0, "conflict": 1, "single": 3, "no label": 1}
        labels = found.label_table().set_index(["source", "label"])
        assert labels.loc[("other", "B cell"), "cells"] == 2
        assert labels.loc[("cells", "mine"), "id"] == ""

    def test_notes(self, found):
        notes = " ".join(found.notes())
        assert "1 of 6 labels of `cells` (1 cells) are not certain in the Cell Ontology" in notes
        assert "`unassigned` in `cells` (1 cells) says that no type is known, and counts as missing." in notes
        assert "`other`" not in notes
