"""Genes of human and mouse that portals accept, as tables that come with the package."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.genes._match import GeneMatch
from sctab.data.genes._space import FeatureSpace

Portal = Literal["cellxgene", "cap"]
_BITS: dict[Portal, int] = {"cellxgene": 1, "cap": 2}
"""Bit of each portal in the last column of the tables, see `scripts/make_gene_reference.py`."""
_PREFIXES = {"human": "ENSG", "mouse": "ENSMUSG"}
_DIGITS = 11
RELEASES = {"human": "GENCODE 48", "mouse": "GENCODE M37"}
"""Release of the genes that CELLxGENE accepts."""


@dataclass(frozen=True)
class GeneReference:
    """Genes of a species that a portal accepts."""

    species: str
    features: FeatureSpace = field(repr=False)

    @property
    def release(self) -> str:
        """Release of the genes."""
        return RELEASES[self.species]

    def match(self, var: pd.DataFrame) -> GeneMatch:
        """Find these genes among the features of a dataset."""
        return self.features.match(var)


@lru_cache(maxsize=4)
def gene_reference(species: str, portal: Portal) -> GeneReference:
    """Genes of human or mouse that a portal accepts.

    Parameters
    ----------
    species
        `"human"` or `"mouse"`.
    portal
        `"cellxgene"`, schema 7.1, or `"cap"`.

    Examples
    --------
    >>> genes = gene_reference("human", "cellxgene")
    >>> found = genes.match(pd.DataFrame(index=["CD3D", "ENSG00000156738.18", "my_transgene"]))
    >>> [genes.features.ids[position] for position in found.positions if position >= 0]
    ['ENSG00000167286', 'ENSG00000156738']
    """
    steps, symbols, accepted = _read(species)
    kept = (accepted & _BITS[portal]) > 0
    numbers = np.cumsum(steps)[kept]
    ids = tuple(f"{_PREFIXES[species]}{number:0{_DIGITS}d}" for number in numbers.tolist())
    return GeneReference(species, FeatureSpace(ids=ids, symbols=tuple(symbols[kept].tolist())))


@lru_cache(maxsize=2)
def _read(species: str) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.int64]]:
    packed = (files("sctab.data.genes") / f"reference_{species}.tsv.gz").read_bytes()
    rows = [line.split("\t") for line in gzip.decompress(packed).decode("utf-8").splitlines()]
    steps, symbols, accepted = zip(*rows, strict=True)
    return np.array(steps, dtype=np.int64), np.array(symbols, dtype=object), np.array(accepted, dtype=np.int64)
