"""Antigens that antibodies recognise, from the table that comes with the package.

`antigens.tsv` has one antigen per line: its name, the symbols of its genes, separated by blanks, and other names, separated by `|`. A
symbol in brackets belongs to several antigens, as `PTPRC` does to `CD45RA` and `CD45RO`, and so does not name any of them. CD numbers and
symbols are those of the gene group "CD molecules" of HGNC (https://www.genenames.org/data/genegroup/#!/group/471); the table covers the
common panels of antibodies for human and mouse. Tests hold that no name represents two antigens, and that every symbol exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from sctab.data.proteins._names import LONGEST, clean, is_hashtag, is_isotype

_BETWEEN = re.compile(r"(?<=\d)[^a-z0-9](?=\d)")
_LATIN = str.maketrans("αβγδεκλζ", "abgdeklz")
_BRACKETS = re.compile(r"^(?P<outside>[^()\[\]]*)[(\[](?P<inside>.*)[)\]](?P<rest>[^()\[\]]*)$")
_NUMBER = re.compile(r"[-_.](?:\d|1\d)$")
"""`CD3-1` and `CD3-2` of two clones, `CD3.1` of R."""
_CLONE = re.compile(r"(?=[a-z0-9.\s/_-]*\d)[a-z0-9][a-z0-9.\s/_-]{2,}|okt\d|leu\d")


@dataclass(frozen=True)
class Antigen:
    """A protein, or an isoform of one, that antibodies recognise."""

    name: str
    genes: tuple[str, ...]
    """Symbols of its genes, human or mouse."""
    shares_genes: tuple[str, ...]
    """Those of its genes that do not name it, since another antigen has them too."""
    names: tuple[str, ...]
    """Other names."""


@dataclass(frozen=True)
class Reading:
    """The antigen that a name represents, and the part of the name that says so."""

    antigen: str
    part: str
    is_gene: bool
    """True if that part is the symbol of a gene and not also a name of the antigen."""


@lru_cache(maxsize=1)
def antigens() -> tuple[Antigen, ...]:
    """All antigens of the table."""
    text = (files("sctab.data.proteins") / "antigens.tsv").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines()[1:]:
        name, genes, names = line.split("\t")
        found.append(
            Antigen(
                name,
                tuple(gene for gene in genes.split() if not gene.startswith("[")),
                tuple(gene.strip("[]") for gene in genes.split() if gene.startswith("[")),
                tuple(filter(None, names.split("|"))),
            )
        )
    return tuple(found)


def key_of(text: str) -> str:
    """A name without what joins its parts, besides a sign between two digits: `CD3-1` is not `CD31`, and `PD-1` is `PD1`.

    Examples
    --------
    >>> key_of("PD-1"), key_of("CD3-1"), key_of("HLA-A,B,C")
    ('pd1', 'cd3-1', 'hlaabc')
    """
    kept = _BETWEEN.sub(lambda found: "\0" if found[0] != "." else "\1", clean(text))
    return re.sub(r"[^a-z0-9\0\1]+", "", kept).replace("\0", "-").replace("\1", ".")


def spellings(name: str) -> tuple[str, ...]:
    """A name of the table, and how it is written without Greek letters; with their names it has the same key.

    Examples
    --------
    >>> spellings("IL-7Rα"), key_of("IL-7Rα")
    (('IL-7Rα', 'IL-7Ra'), 'il7ralpha')
    """
    return tuple(dict.fromkeys((name, name.translate(_LATIN))))


@lru_cache(maxsize=1)
def _aliases() -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    for antigen in antigens():
        names = (antigen.name, *antigen.names)
        written = [(name, name, False) for name in names] + [(gene, gene, True) for gene in antigen.genes]
        written += [(spelling, name, False) for name in names for spelling in spellings(name)]
        for spelling, part, is_gene in written:
            found.setdefault(key_of(spelling), Reading(antigen.name, part, is_gene))
    return found


@lru_cache(maxsize=2**14)
def antigen_of(name: str) -> Reading | None:
    """The antigen that the name of an antibody represents; `None` for none, for two, for isotype controls and for hashtags.

    Examples
    --------
    >>> [antigen_of(name).antigen for name in ("PD1 (CD279)", "CD4-SK3", "CD56-1", "anti-human CD3")]
    ['CD279', 'CD4', 'CD56', 'CD3']
    >>> antigen_of("IgG1") is None, antigen_of("CD45RO").antigen
    (True, 'CD45RO')
    """
    text = clean(name)
    if len(text) > LONGEST or is_hashtag(name) or is_isotype(name):
        return None
    if (whole := _aliases().get(key_of(text))) is not None:
        return whole
    parts = _parts(text)
    found = [reading for part in parts if (reading := _read(part)) is not None]
    return found[0] if len({reading.antigen for reading in found}) == 1 else None


def _parts(text: str) -> list[str]:
    """The text outside of brackets and the alternatives within; both sides of a slash where there is no bracket."""
    if found := _BRACKETS.match(text):
        outside, inside = f"{found['outside']} {found['rest']}".strip(), found["inside"]
        alternatives = [] if key_of(inside) in _aliases() else re.split(r"[,;/]", inside)
        return [outside, inside, *(part for part in alternatives if part != inside)]
    sides = text.split("/")
    return [text, *sides] if len(sides) > 1 else [text]


def _read(text: str) -> Reading | None:
    """Read a part of a name: as it is, without a number at its end, or without a clone."""
    aliases = _aliases()
    if (found := aliases.get(key_of(text))) is not None:
        return found
    if (number := _NUMBER.search(text)) and (found := aliases.get(key_of(text[: number.start()]))) is not None:
        return found
    for joint in reversed(list(re.finditer(r"[\s_.:-]+", text))):
        base, rest = text[: joint.start()], text[joint.end() :]
        found = aliases.get(key_of(base))
        if found is not None and _CLONE.fullmatch(rest):
            other = aliases.get(key_of(rest))
            return found if other is None or other.antigen == found.antigen else None
    return None
