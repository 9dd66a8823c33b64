"""Corpora of many files: which cells, over which genes, in which split, and a store to train from."""

from sctab.corpus._build import build
from sctab.corpus._config import CorpusConfig, SplitEntry
from sctab.corpus._curation import Assays, Filter, MinAncestors, MinCells, MinDonors, PrimaryData, SubtypeOf
from sctab.corpus._entry import SourceEntry
from sctab.corpus._features import CorpusGenes, join_genes
from sctab.corpus._plan import CorpusPlan, plan
from sctab.corpus._store import Corpus

__all__ = [
    "Assays",
    "Corpus",
    "CorpusConfig",
    "CorpusGenes",
    "CorpusPlan",
    "Filter",
    "MinAncestors",
    "MinCells",
    "MinDonors",
    "PrimaryData",
    "SourceEntry",
    "SplitEntry",
    "SubtypeOf",
    "build",
    "join_genes",
    "plan",
]
