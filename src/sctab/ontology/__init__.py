"""Cell Ontology: from cell type names to terms, and from terms to what they are kinds of."""

from sctab.ontology._label_map import read_label_map
from sctab.ontology._labels import LabelSpace
from sctab.ontology._ontology import CellOntology, Resolution
from sctab.ontology._sources import ObsoleteTerm

__all__ = ["CellOntology", "LabelSpace", "ObsoleteTerm", "Resolution", "read_label_map"]
