"""Cell Ontology: a small one that was written by hand, and the one that is used, also against other libraries."""

from itertools import combinations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from sctab import SettingError
from sctab.ontology import CellOntology, ObsoleteTerm

pronto_guesses_the_encoding = pytest.mark.filterwarnings("ignore:unsound encoding:UnicodeWarning")
"""Pronto warns where a file is too short for it to be sure of UTF-8."""


@pronto_guesses_the_encoding
class TestSmall:
    @pytest.mark.parametrize(
        ("name", "term"),
        [
            ("CL:0000236", "CL:0000236"),
            ("cl:0000236", "CL:0000236"),
            ("B cell", "CL:0000236"),
            ("b CELL", "CL:0000236"),
            ("B_cell", "CL:0000236"),
            ("  B   cell ", "CL:0000236"),
            ("B lymphocyte", "CL:0000236"),
            ("White Blood Cell", "CL:0000738"),
            ("cell", "CL:0000000"),  # a preferred name goes before the synonym of another term
            ("shared name", None),  # a synonym of two terms
            ("immune cell", None),  # a broad synonym is not the same type
            ("obsolete cell", None),
            ("organ", None),
            ("UBERON:0000001", None),
            ("CL:0000888", None),
            ("B cells", None),
            ("", None),
        ],
    )
    def test_find(self, small, name, term):
        assert small.find(name) == term

    def test_ancestors_are_along_is_a_only(self, small):
        assert small.ancestors("CL:0000236") == {"CL:0000542", "CL:0000738", "CL:0000000"}
        assert small.ancestors("CL:0000000") == frozenset()
        assert small.ancestors("CL:0000999") == frozenset()
        assert small.is_kind_of("CL:0000084", "CL:0000738")
        assert small.is_kind_of("CL:0000084", "CL:0000084")
        assert not small.is_kind_of("CL:0000738", "CL:0000084")

    def test_names(self, small):
        assert small.name("CL:0000084") == "T cell"
        assert small.name("CL:0000999") is None

    @pytest.mark.parametrize(
        ("term", "terms", "expected"),
        [
            ("CL:0000236", ["CL:0000000", "CL:0000738", "CL:0000542"], "CL:0000542"),
            ("CL:0000236", ["CL:0000542", "CL:0000738", "CL:0000000"], "CL:0000542"),
            ("CL:0000236", ["CL:0000084", "CL:0000738"], "CL:0000738"),
            ("CL:0000236", ["CL:0000236", "CL:0000542"], "CL:0000236"),
            ("CL:0000542", ["CL:0000236", "CL:0000084"], None),
            ("CL:0000236", [], None),
            ("CL:7777777", ["CL:0000000"], None),
        ],
    )
    def test_coarsen(self, small, term, terms, expected):
        assert small.coarsen(term, terms) == expected

    def test_synonyms(self, small):
        assert small.synonyms("CL:0000084") == ("T-lymphocyte", "shared name")
        assert small.synonyms("CL:0000542") == small.synonyms("CL:0000999") == ()

    def test_descendants_children_and_parents(self, small):
        assert small.descendants("CL:0000738") == {"CL:0000542", "CL:0000084", "CL:0000236"}
        assert small.children("CL:0000738") == {"CL:0000542"}
        assert small.parents("CL:0000542") == {"CL:0000738"}
        for unknown in ("CL:0000999", "CL:7777777"):
            assert small.descendants(unknown) == small.children(unknown) == small.parents(unknown) == frozenset()

    def test_terms_may_be_given_by_name_or_synonym(self, small):
        for b_cell in ("CL:0000236", "B cell", "B lymphocyte", "b_cell"):
            assert small.ancestors(b_cell) == {"CL:0000542", "CL:0000738", "CL:0000000"}
            assert small.parents(b_cell) == {"CL:0000542"}
            assert small.depth(b_cell) == 3
            assert small.synonyms(b_cell) == ("B lymphocyte", "cell", "shared name")
            assert small.is_kind_of(b_cell, "white blood cell")
            assert not small.is_kind_of("white blood cell", b_cell)
            assert small.is_kind_of(b_cell, "CL:0000236")
            assert small.coarsen(b_cell, ["cell", "White blood cell", "T cell"]) == "White blood cell"
            assert small.lowest_common_ancestors([b_cell, "T-lymphocyte"]) == {"CL:0000542"}
        for leukocyte in ("CL:0000738", "white blood cell"):
            assert small.descendants(leukocyte) == {"CL:0000542", "CL:0000084", "CL:0000236"}
            assert small.children(leukocyte) == {"CL:0000542"}
        assert small.descendants("shared name") == frozenset()  # of two terms

    def test_depth(self, small):
        assert [small.depth(term) for term in ("CL:0000000", "CL:0000111", "CL:0000738", "CL:0000084")] == [0, 0, 1, 3]
        assert small.depth("CL:0000999") is None

    @pytest.mark.parametrize(
        ("term", "replacement"),
        [
            ("CL:0000009", "CL:0000000"),
            ("CL:0000003", "CL:0000000"),  # its replacement is obsolete, and has one
            ("CL:0000004", None),  # to consider is not to replace
            ("CL:0000005", None),  # by a term of another ontology
            ("CL:0000006", None),  # by one of two
            ("CL:0000999", None),
            ("CL:0000084", None),  # it is in use
            ("CL:7777777", None),
        ],
    )
    def test_replacement(self, small, term, replacement):
        assert small.replacement(term) == replacement

    @pytest.mark.parametrize(
        ("name", "term", "note"),
        [
            ("T CELL", "CL:0000084", ""),
            ("CL_0000084", "CL:0000084", ""),
            ("T-lymphocyte", "CL:0000084", "`T-lymphocyte` is read as `T cell` (`CL:0000084`), an exact synonym."),
            ("T cells", "CL:0000084", "`T cells` is read as `T cell` (`CL:0000084`), in another form."),
            ("T", "CL:0000084", "`T` is read as `T cell` (`CL:0000084`), a common short name."),
            ("NK", None, ""),  # of a term that this ontology does not have
            ("native cell", "CL:0000000", "`native cell` is obsolete in release R and replaced by `cell` (`CL:0000000`)."),
            (
                "Obsolete native cell",
                "CL:0000000",
                "`Obsolete native cell` is obsolete in release R and replaced by `cell` (`CL:0000000`).",
            ),
            ("CL:0000003", "CL:0000000", "`CL:0000003` is obsolete in release R and replaced by `cell` (`CL:0000000`)."),
            ("plant cell", None, "`plant cell` is obsolete in release R, without a replacement."),
            (
                "cell by organism",
                None,
                "`cell by organism` is obsolete in release R, without a replacement; "
                "consider `cell` (`CL:0000000`), `T cell` (`CL:0000084`).",
            ),
            ("cluster 7", None, ""),
        ],
    )
    def test_resolve(self, small, name, term, note):
        assert small.resolve(name) == (term, note.replace("release R", "release releases/2024-01-01"))

    def test_resolve_by_a_name_of_an_embedded_release(self, small):
        small = CellOntology(names={"CL:0000135": "round cell"}, synonyms={}, ancestors={}, version="mine")
        resolution = small.resolve("Circulating fibrocyte")
        assert resolution.term == "CL:0000135"
        assert resolution.note == (
            f"`Circulating fibrocyte` is the name in release {CellOntology.embedded().version} of `round cell` (`CL:0000135`)."
        )
        assert small.resolve("T cell") == (None, "")


class TestSeveralParents:
    """`top` has `left` and `right`, both of these have `x` and `y`, and `x` has `deep`."""

    @pytest.fixture
    def diamond(self):
        above = {"top": [], "left": ["top"], "right": ["top"], "x": ["left", "right", "top"], "y": ["left", "right", "top"]}
        above["deep"] = ["x", "left", "right", "top"]
        return CellOntology(names={term: term for term in above}, synonyms={}, ancestors=above, version="1")

    def test_lowest_common_ancestors(self, diamond):
        assert diamond.lowest_common_ancestors(["x", "y"]) == {"left", "right"}
        assert diamond.lowest_common_ancestors(["deep", "y"]) == {"left", "right"}
        assert diamond.lowest_common_ancestors(["deep", "x"]) == {"x"}
        assert diamond.lowest_common_ancestors(["left", "right", "x"]) == {"top"}
        assert diamond.lowest_common_ancestors(["x"]) == {"x"}
        assert diamond.lowest_common_ancestors(["x", "unknown"]) == diamond.lowest_common_ancestors([]) == frozenset()

    def test_parents_depth_and_matrix(self, diamond):
        assert diamond.parents("deep") == {"x"}
        assert diamond.parents("x") == {"left", "right"}
        assert diamond.children("left") == {"x", "y"}
        assert diamond.depth("deep") == 3
        assert diamond.child_matrix(["left", "x", "deep", None, "top", None]).astype(int).tolist() == [
            [1, 1, 1, 0, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0, 0],
            [0, 0, 0, 1, 0, 0],
            [1, 1, 1, 0, 1, 0],
            [0, 0, 0, 0, 0, 1],
        ]

    def test_sums_count_every_label_once(self, diamond):
        values = [[0.5, 0.25, 0.125, 0.125], [np.nan] * 4]
        sums = diamond.sum_probabilities(values, ["deep", "y", "left", None], ["top", "left", "right", "x", "unknown"])
        np.testing.assert_array_equal(sums, [[0.875, 0.875, 0.75, 0.5, 0], [np.nan] * 5])


class TestByHand:
    def test_replacements_that_lead_in_a_circle_lead_nowhere(self):
        obsolete = {"a": ObsoleteTerm("obsolete a", "b"), "b": ObsoleteTerm("obsolete b", "a")}
        ontology = CellOntology(names={"c": "C"}, synonyms={}, ancestors={}, version="1", obsolete=obsolete)
        assert ontology.replacement("a") is None

    def test_a_term_is_not_its_own_ancestor(self):
        ontology = CellOntology(names={"a": "A", "b": "B"}, synonyms={}, ancestors={"a": ["a", "b"]}, version="1")
        assert ontology.ancestors("a") == {"b"}

    def test_what_it_is_made_of_may_change_later(self):
        names, synonyms, ancestors = {"a": "A"}, {"a": ["first letter"]}, {"a": ["b"]}
        ontology = CellOntology(names=names, synonyms=synonyms, ancestors=ancestors, version="1")
        for made_of in (names, synonyms, ancestors):
            made_of.clear()
        assert (ontology.find("A"), ontology.find("first letter"), ontology.ancestors("a")) == ("a", "a", {"b"})


class TestEmbedded:
    @pytest.mark.parametrize(
        ("name", "term"),
        [
            ("B cell", "CL:0000236"),
            ("T cell", "CL:0000084"),
            ("natural killer cell", "CL:0000623"),
            ("classical monocyte", "CL:0000860"),
            ("CD4-positive, alpha-beta T cell", "CL:0000624"),
            ("platelet", "CL:0000233"),
            ("Dendritic cell", "CL:0000451"),
            ("PBMC cluster 7", None),
        ],
    )
    def test_well_known_types(self, ontology, name, term):
        assert ontology.find(name) == term

    @pytest.mark.parametrize(
        ("term", "other"),
        [
            ("CL:0000624", "CL:0000084"),  # CD4-positive, alpha-beta T cell; T cell
            ("CL:0000084", "CL:0000542"),  # T cell; lymphocyte
            ("CL:0000860", "CL:0000576"),  # classical monocyte; monocyte
            ("CL:0000236", "CL:0000738"),  # B cell; leukocyte
        ],
    )
    def test_well_known_kinds(self, ontology, term, other):
        assert ontology.is_kind_of(term, other)
        assert not ontology.is_kind_of(other, term)

    def test_it_is_read_once(self, ontology):
        assert CellOntology.embedded() is ontology

    def test_it_says_its_release(self, ontology):
        assert ontology.version

    @given(data=st.data())
    def test_every_name_leads_to_its_term(self, data):
        ontology = CellOntology.embedded()
        term = data.draw(st.sampled_from(sorted(ontology.ancestors("CL:0000624") | {"CL:0000624", "CL:0000860", "CL:0000236"})))
        if (name := ontology.name(term)) is not None:
            assert ontology.find(name) == ontology.find(name.upper()) == ontology.find(term) == term

    @given(data=st.data())
    def test_coarsening_gives_the_nearest_type_above(self, data):
        ontology = CellOntology.embedded()
        term = data.draw(st.sampled_from(["CL:0000624", "CL:0000860", "CL:0000236", "CL:0000897", "CL:0000813"]))
        around = sorted(ontology.ancestors(term) | {term, "CL:0000066", "CL:0000540"})
        terms = data.draw(st.lists(st.sampled_from(around), max_size=6, unique=True))
        found = ontology.coarsen(term, terms)
        above = [other for other in terms if ontology.is_kind_of(term, other)]
        if not above:
            assert found is None
        else:
            assert found in above
            assert not any(other != found and ontology.is_kind_of(other, found) for other in above)

    @pytest.mark.parametrize("term", ["CL:0000624", "CL:0000860", "CL:0000236", "CL:0000233"])
    def test_kinds_of_kinds_are_kinds(self, ontology, term):
        assert ontology.ancestors(term)
        for above in ontology.ancestors(term):
            assert ontology.ancestors(above) <= ontology.ancestors(term)

    @pytest.mark.parametrize("version", CellOntology.embedded_versions())
    def test_every_release_can_be_had(self, version):
        release = CellOntology.embedded(version)
        assert release.version == version
        assert release is CellOntology.embedded(version)
        assert release.find("B cell") == "CL:0000236"

    def test_a_release_that_is_not_embedded(self):
        with pytest.raises(SettingError, match=r"`version='v2000-01-01'` of the Cell Ontology is not embedded\. Available: `v"):
            CellOntology.embedded("v2000-01-01")

    def test_the_newest_is_the_default(self, ontology):
        assert ontology.version == max(CellOntology.embedded_versions()) == CellOntology.embedded_versions()[-1]

    def test_every_name_of_every_release_leads_somewhere(self, ontology):
        """To its own id or its replacement, or to a sentence that says that there is none."""
        for version in CellOntology.embedded_versions():
            older = CellOntology.embedded(version)
            for term in sorted(older.descendants("CL:0000000")):
                found = ontology.resolve(older.name(term))
                if found.term is None:
                    assert ontology.name(term) is None
                    assert ontology.replacement(term) is None
                    assert "without a replacement" in found.note
                elif ontology.name(term) == older.name(term):
                    assert found.term == term
                    assert not found.note or ", but may mean " in found.note


@pytest.fixture(scope="module")
def graph(parser):
    """From each term to what it is a kind of, as cellxgene-ontology-guide has it."""
    terms = [term for term in parser.cxg_schema.ontology("CL") if not parser.is_term_deprecated(term)]
    closure = nx.DiGraph([(term, above) for term in terms for above in parser.get_term_ancestors(term)])
    return nx.transitive_reduction(closure)


class TestAgainstOtherLibraries:
    def test_parents_and_children(self, ontology, graph):
        for term in graph:
            assert ontology.parents(term) == set(graph.successors(term))
        for term in ("CL:0000000", "CL:0000542", "CL:0000084"):
            assert ontology.children(term) == set(graph.predecessors(term))

    def test_descendants(self, ontology, graph, parser):
        for term in ("CL:0000000", "CL:0000738", "CL:0000084", "CL:0000624"):
            assert ontology.descendants(term) == nx.ancestors(graph, term) == set(parser.get_term_descendants(term))

    def test_depth(self, ontology, graph):
        downwards = graph.reverse()
        levels = dict.fromkeys(graph, 0)
        for term in nx.topological_sort(downwards):
            for below in downwards.successors(term):
                levels[below] = max(levels[below], levels[term] + 1)
        assert {term: ontology.depth(term) for term in graph} == levels

    def test_replacements(self, ontology, parser):
        n_replaced = 0
        for term in parser.cxg_schema.ontology("CL"):
            replacement = parser.get_term_replacement(term)
            if replacement is not None and ontology.name(replacement) is not None:
                assert ontology.replacement(term) == ontology.resolve(term).term == replacement
                n_replaced += 1
        assert n_replaced > 50

    def test_lowest_common_ancestors(self, ontology, graph):
        terms = sorted(ontology.descendants("CL:0000542"))[::9]
        for pair in combinations(terms, 2):
            common = set.intersection(*({term} | nx.descendants(graph, term) for term in pair))
            lowest = {term for term in common if not nx.ancestors(graph, term) & common}
            assert ontology.lowest_common_ancestors(pair) == lowest


def test_the_oracle_has_the_same_child_matrix(oracle_path, ontology):
    labels = pd.read_parquet(oracle_path / "cell_type.parquet")["label"]
    expected = np.load(oracle_path / "child_matrix.npy")
    for version in CellOntology.embedded_versions():
        ontology = CellOntology.embedded(version)
        np.testing.assert_array_equal(ontology.child_matrix([ontology.find(name) for name in labels]), expected)


TERMS = [*sorted(CellOntology.embedded().descendants("CL:0000738"))[::5], "CL:0000738", "CL:0000000", "not a term"]
some_terms = st.lists(st.sampled_from(TERMS), min_size=1, max_size=12)


class TestInvariants:
    @given(terms=st.lists(st.sampled_from([*TERMS, None]), max_size=12))
    def test_the_child_matrix_is_a_partial_order(self, terms):
        ontology = CellOntology.embedded()
        matrix = ontology.child_matrix(terms)
        assert matrix.shape == (len(terms), len(terms))
        assert matrix.diagonal().all()
        assert not ((matrix.astype(int) @ matrix.astype(int) > 0) & ~matrix).any()
        for i, j in np.argwhere(matrix & matrix.T):
            assert terms[i] == terms[j]

    @given(terms=st.lists(st.sampled_from(TERMS[:-1]), min_size=1, max_size=5))
    def test_lowest_common_ancestors_are_common_and_lowest(self, terms):
        ontology = CellOntology.embedded()
        lowest = ontology.lowest_common_ancestors(terms)
        assert lowest == ontology.lowest_common_ancestors(terms[::-1])
        for above in lowest:
            assert all(ontology.is_kind_of(term, above) for term in terms)
            assert not any(other != above and ontology.is_kind_of(other, above) for other in lowest)
        for above in ontology.ancestors(terms[0]):
            if all(ontology.is_kind_of(term, above) for term in terms):
                assert any(ontology.is_kind_of(low, above) for low in lowest)

    @given(labels=some_terms, terms=some_terms, seed=st.integers(0, 1000))
    def test_coarse_probabilities_are_sums_of_fine_ones(self, labels, terms, seed):
        ontology = CellOntology.embedded()
        labels = [None if label == "not a term" else label for label in labels]
        values = np.random.default_rng(seed).dirichlet(np.ones(len(labels)), size=3)
        sums = ontology.sum_probabilities(values, labels, [*terms, "CL:0000000"])
        known = [label is not None for label in labels]
        np.testing.assert_allclose(sums[:, -1], values[:, known].sum(axis=1))
        for i, term in enumerate(terms):
            expected = sum(values[:, j] for j, label in enumerate(labels) if label and ontology.is_kind_of(label, term))
            np.testing.assert_allclose(sums[:, i], expected, atol=1e-12)
            for j, other in enumerate(terms):
                if ontology.is_kind_of(other, term):
                    assert (sums[:, i] >= sums[:, j] - 1e-12).all()
