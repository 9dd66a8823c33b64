from . import label_values as label_values
from ._consensus import Consensus as Consensus, MappedLabels as MappedLabels
from ._hierarchy import as_hierarchy as as_hierarchy, read_hierarchy as read_hierarchy
from ._label_map import label_ids_from as label_ids_from, read_label_map as read_label_map, unused as unused
from ._labels import LabelSpace as LabelSpace, tissues_of as tissues_of
from ._metadata_terms import MetadataTerm as MetadataTerm, find_metadata_term as find_metadata_term
from ._ontology import CellOntology as CellOntology
from ._resolution import Resolution as Resolution
from ._sources import ObsoleteTerm as ObsoleteTerm
from ._tree import TreeNode as TreeNode, label_tree as label_tree
from .label_values import counted as counted, doubts as doubts, is_missing as is_missing, why_unwritable as why_unwritable

__all__ = ["CellOntology", "read_hierarchy", "read_label_map"]
