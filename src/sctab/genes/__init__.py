"""Matching the genes of any dataset to those of a model: the one place that aligns genes."""

from sctab.genes._features import gene_expression
from sctab.genes._match import GeneMatch
from sctab.genes._space import FeatureSpace
from sctab.genes._species import Species, guess_species

__all__ = ["FeatureSpace", "GeneMatch", "Species", "gene_expression", "guess_species"]
