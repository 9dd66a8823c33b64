"""Cell Ontology: a small one that was written by hand, and the one that is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sctab import DataFileError
from sctab.ontology import CellOntology, LabelSpace

OBO = """\
format-version: 1.2
data-version: releases/2024-01-01
ontology: cl

[Term]
id: CL:0000000
name: cell

[Term]
id: CL:0000738
name: leukocyte
synonym: "white blood cell" EXACT []
synonym: "immune cell" BROAD []
is_a: CL:0000000 ! cell

[Term]
id: CL:0000542
name: lymphocyte
is_a: CL:0000738 ! leukocyte

[Term]
id: CL:0000084
name: T cell
synonym: "T-lymphocyte" EXACT []
synonym: "shared name" EXACT []
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000236
name: B cell
synonym: "shared name" EXACT []
synonym: "B lymphocyte" EXACT []
synonym: "cell" EXACT []
is_a: CL:0000542 ! lymphocyte
relationship: part_of CL:0000111 ! follicle

[Term]
id: CL:0000111
name: follicle

[Term]
id: CL:0000999
name: obsolete cell
is_obsolete: true

[Term]
id: UBERON:0000001
name: organ

[Term]
id: CL:0000888
"""

pronto_guesses_the_encoding = pytest.mark.filterwarnings("ignore:unsound encoding:UnicodeWarning")
"""Pronto warns where a file is too short for it to be sure of UTF-8."""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.obo"
    path.write_text(OBO, encoding="utf-8")
    return CellOntology.from_file(path)


@pytest.fixture(scope="module")
def ontology():
    return CellOntology.embedded()


@pronto_guesses_the_encoding
class TestFromFile:
    def test_version(self, small):
        assert small.version == "releases/2024-01-01"

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


class TestRefusals:
    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(DataFileError, match=r"cl\.obo` is not there\. Give the path of an `\.obo`, `\.owl` or `\.json` file"):
            CellOntology.from_file(tmp_path / "cl.obo")

    def test_a_directory(self, tmp_path):
        with pytest.raises(DataFileError, match="is not there"):
            CellOntology.from_file(tmp_path)

    @pronto_guesses_the_encoding
    @pytest.mark.parametrize(
        "content", [b"", b"garbage\n", b"\x89PNG\r\n\x1a\n\x00\x00", OBO.replace("CL:0000738 ! leu", "CL:1 ! ").encode()]
    )
    def test_a_file_that_is_no_ontology(self, tmp_path, content):
        path = tmp_path / "broken.obo"
        path.write_bytes(content)
        with pytest.raises(DataFileError, match=r"broken\.obo` is not an ontology that pronto can read"):
            CellOntology.from_file(path)


class TestByHand:
    def test_a_term_is_not_its_own_ancestor(self):
        ontology = CellOntology(names={"a": "A", "b": "B"}, synonyms={}, ancestors={"a": ["a", "b"]}, version="1")
        assert ontology.ancestors("a") == {"b"}

    def test_what_it_is_made_of_may_change_later(self):
        names, synonyms, ancestors = {"a": "A"}, {"a": ["alpha"]}, {"a": ["b"]}
        ontology = CellOntology(names=names, synonyms=synonyms, ancestors=ancestors, version="1")
        for made_of in (names, synonyms, ancestors):
            made_of.clear()
        assert (ontology.find("A"), ontology.find("alpha"), ontology.ancestors("a")) == ("a", "a", {"b"})


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


class TestLabelSpace:
    def test_from_names(self, ontology):
        labels = LabelSpace.from_names(["T cell", "cluster 3", "B lymphocyte"], ontology)
        assert labels.names == ("T cell", "cluster 3", "B lymphocyte")
        assert labels.ids == ("CL:0000084", None, "CL:0000236")
        assert labels.ontology_version == ontology.version
        assert len(labels) == 3

    def test_without_id(self):
        labels = LabelSpace(names=("x", "T cell", "y"), ids=(None, "CL:0000084", None))
        assert labels.without_id == ("x", "y")
        assert LabelSpace(names=("T cell",), ids=("CL:0000084",)).without_id == ()
