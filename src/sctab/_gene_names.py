"""What the name of a gene tells by itself: Ensembl id or symbol, genome prefix, species, and how it is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{6,}|WBGene\d+|FBgn\d+)(?:\.\d+)?")
_GENOME_PREFIX = re.compile(r"^(?:(?P<human>GRCH3[78]|HG19|HG38)|(?P<mouse>GRCM3[89]|MM10|MM39))_+", re.IGNORECASE)
GENOMES = tuple(_GENOME_PREFIX.groupindex)
"""Species whose genomes are known as prefixes."""
_SPECIES_PREFIXES = {
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSDARG": "zebrafish",
    "ENSMMUG": "rhesus macaque",
    "ENSMFAG": "crab-eating macaque",
    "ENSPTRG": "chimpanzee",
    "ENSSSCG": "pig",
    "ENSGALG": "chicken",
    "ENSCJAG": "marmoset",
    "WBGene": "worm",
    "FBgn": "fly",
}
_remembered = lru_cache(maxsize=2**17)
"""For what is asked of one name: datasets have their names in common, and each is asked several times."""


def common_case(names: Sequence[str]) -> Literal["upper", "title", "other"]:
    """How symbols are written: as in human (`CD3D`), as in mouse and rat (`Cd3d`), or otherwise."""
    counts = Counter(map(case_of, names))
    n_symbols = counts["upper"] + counts["title"] + counts["other"]
    if counts["title"] > 0.5 * n_symbols:
        return "title"
    return "upper" if counts["upper"] > 0.8 * n_symbols else "other"


@_remembered
def case_of(name: str) -> Literal["upper", "title", "other"] | None:
    """How a symbol is written, or `None` where the name is too short for one, begins with no letter, or is an Ensembl id."""
    symbol = bare(name)
    if len(symbol) <= 2 or not symbol[0].isalpha() or _ENSEMBL.fullmatch(symbol):
        return None
    if symbol.upper() == symbol:
        return "upper"
    return "title" if symbol[0].isupper() and any(map(str.islower, symbol)) and not any(map(str.isupper, symbol[1:])) else "other"


@_remembered
def bare(name: str) -> str:
    """A name without genome prefix."""
    return _GENOME_PREFIX.sub("", name)


@_remembered
def genome_of(name: str) -> str | None:
    """The species whose genome a name has as its prefix."""
    genome = _GENOME_PREFIX.match(name)
    return genome.lastgroup if genome else None


@_remembered
def canonical(name: str) -> str:
    """A name without genome prefix, in capitals and with `-` for `.`."""
    return bare(name).upper().replace(".", "-")


@_remembered
def strip_version(name: str) -> str | None:
    """The Ensembl id without version and genome prefix, or `None` where the name is no Ensembl id."""
    match = _ENSEMBL.fullmatch(bare(name))
    return match[1] if match else None


@_remembered
def species_of(gene_id: str) -> str | None:
    """The species whose prefix an Ensembl id has."""
    return _SPECIES_PREFIXES.get(gene_id.rstrip("0123456789"))


def is_mostly_ensembl(names: Sequence[str]) -> bool:
    """Whether more than half of the names that are not empty are Ensembl ids."""
    n_ids = len(names) - [*map(strip_version, names)].count(None)
    return n_ids > 0.5 * (len(names) - names.count(""))
