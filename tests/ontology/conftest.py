import pytest
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from sctab.ontology import CellOntology

OBO = """\
format-version: 1.2
data-version: releases/2024-01-01
ontology: cl

[Term]
id: CL:0000000
name: cell
is_a: UBERON:0000001

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
id: CL:0000003
name: obsolete native cell
is_obsolete: true
replaced_by: CL:0000009

[Term]
id: CL:0000009
name: obsolete fresh cell
is_obsolete: true
replaced_by: CL:0000000

[Term]
id: CL:0000004
name: obsolete cell by organism
is_obsolete: true
consider: CL:0000000
consider: CL:0000084

[Term]
id: CL:0000005
name: obsolete plant cell
is_obsolete: true
replaced_by: PO:0009002

[Term]
id: CL:0000006
name: obsolete lymphoid cell
is_obsolete: true
replaced_by: CL:0000084
replaced_by: CL:0000236

[Term]
id: UBERON:0000001
name: organ

[Term]
id: CL:0000888
"""


@pytest.fixture
def obo():
    """A small ontology as text."""
    return OBO


@pytest.fixture
def small(tmp_path):
    """A small ontology that was read from a file."""
    path = tmp_path / "small.obo"
    path.write_text(OBO, encoding="utf-8")
    return CellOntology.from_file(path)


@pytest.fixture(scope="session")
def ontology():
    """The newest release that is embedded."""
    return CellOntology.embedded()


@pytest.fixture(scope="module")
def parser():
    return OntologyParser()
