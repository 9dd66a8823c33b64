from ._config import INTERSECTION as INTERSECTION, UNION as UNION, CorpusConfig as CorpusConfig, SplitEntry as SplitEntry
from ._curation import (
    Assays as Assays,
    Filter as Filter,
    MinAncestors as MinAncestors,
    MinCells as MinCells,
    MinDonors as MinDonors,
    PrimaryData as PrimaryData,
    SubtypeOf as SubtypeOf,
)
from ._entry import COLUMNS as COLUMNS, SourceEntry as SourceEntry
from ._features import CorpusGenes as CorpusGenes, join_genes as join_genes
from ._plan import CorpusPlan as CorpusPlan, plan as plan
from ._store import Corpus as Corpus
from .building._build import build as build

__all__ = [
    "Corpus",
    "CorpusConfig",
    "SourceEntry",
    "SplitEntry",
    "build",
    "plan",
]
