"""Names of antibodies as products, programs and tables write them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_GREEK = str.maketrans(
    {
        "α": "alpha",
        "β": "beta",
        "γ": "gamma",
        "δ": "delta",
        "ε": "epsilon",
        "κ": "kappa",
        "λ": "lambda",
        "µ": "mu",
        "μ": "mu",
        "ζ": "zeta",
    }
)
LONGEST = 200
"""Characters of a name that is cleaned: no antibody has a longer one."""
_SPECIES = r"(?:human|mouse|rat|hu|ms|mo|rt|hs|mm)"
_PREFIX = re.compile(
    r"total[\s_-]?seq[\s_.-]*[abcd]?\d{0,4}[\s_.:-]+(?=\S)|"
    rf"(?:adt|prot(?:ein)?|ab|abseq|cite|antibody|surface)[_.:|\s-]+(?=\S)"
    rf"|anti[\s_.-]+(?:{_SPECIES}(?:[/\s_.,-]+{_SPECIES})*(?:[\s_.-]+|(?=cd\d)))?(?=\S)"
    r"|(?:hu|ms|hums|humsrt|msrt|human|mouse)\.(?=\w)"
    r"|(?:human|mouse)[/\s_-]+(?:mouse[/\s_-]+)?(?=cd\d)"
)
_SUFFIX = re.compile(
    r"(?:"
    r"[\s_.-]*\(?total[\s_-]?seq[\s_.-]*[abcd]?\)?(?:[\s_.-]+(?:anti)?(?:body)?)?"
    r"|[\s_.-]+ts[abc]"
    r"|[\s_.-]+[abcd]\d{4}"
    r"|[\s_.-]+(?:adt|prot|protein|antibody|(?<!tcr.)(?<!cd235.)ab|pabo|abseq|cite|ahs\d{4}|amm\d{4}|recombinant|biotin)"
    r"|\s*\((?:adt|prot|protein|antibody|recombinant)\)"
    r"|[\s_.-]+(?:fitc|pe|apc|pe[\s_-]?cy\d(?:\.\d)?|apc[\s_-]?cy\d|bv\d{3}|percp(?:[\s_-]?cy5\.5)?|af\d{3})"
    r"|[\s_.-]+$"
    r")$"
)
_BD = re.compile(r"(?P<name>[^|]+?)(?::(?P<clone>[^|]*))?\|(?P<gene>[^|]+)\|(?:ahs|amm|aho)\d+(?:\|pabo)?")
"""`CD3:SK7|CD3E|AHS0033|pAbO` of BD AbSeq."""
_HASHTAG = re.compile(
    r".*hash[\s_-]?tag.*|(?:hash|multi)[\s_.-]?\d+|(?:.*[\s_.-])?(?:hto|cmo|lmo)[\s_.-]?[a-z]?\d+.*|(?:hto|cmo|lmo|hashing)(?:[\s_.-].*)?|.*sample[\s_.-]?tag.*"
    r"|multi[\s_.-]?seq.*|cell[\s_-]?plex.*|unmapped|no_match|bad_struct|total_reads"
)
_ISOTYPE = re.compile(
    r".*isotype.*|.*\big[gmade]\d?[abc]?\b.*\b(?:ctrl|control)s?\b.*|.*\b(?:ctrl|control)s?\b.*\big[gmade].*"
    r"|(?:[a-z]+ )*(?:hamster|rat|rabbit|goat|mouse|rt|ms|mo) ?ig(?:[gmade](?:\d[abc]?)?)?(?! ?light)(?![a-z]{3}).*"
    r"|(?:[a-z]+ )?igg(?:1|2[abc]?|3|4)(?: ?(?:k|kappa|l|lambda|fc|iso|ctrl|\d+))*"
)
"""Isotype controls, where only blanks join words."""


@lru_cache(maxsize=2**14)
def clean(name: str) -> str:
    """Clean the name of an antibody: no case, prefixes, bar codes, chemistry of the library or conjugates.

    Examples
    --------
    >>> clean("CD45RA_TotalSeqB"), clean("Hu.CD3_UCHT1"), clean("anti-human CD4 (RPA-T4)"), clean("TCR γ/δ")
    ('cd45ra', 'cd3_ucht1', 'cd4 (rpa-t4)', 'tcr gamma/delta')
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(_GREEK)
    text = " ".join(text.split())
    if len(text) > LONGEST:
        return text
    if bd := _BD.fullmatch(text):
        text = bd["name"]
    while text:
        shorter = _SUFFIX.sub("", text)
        if found := _PREFIX.match(shorter):
            shorter = shorter[found.end() :]
        shorter = shorter.strip(" _")
        if not shorter or shorter == text:
            break
        text = shorter
    return text


def is_hashtag(name: str) -> bool:
    """Return whether a name is that of a hashtag, of a sample, or of what a counting program adds.

    Examples
    --------
    >>> is_hashtag("HTO28_5P"), is_hashtag("Hashtag-3"), is_hashtag("CMO301"), is_hashtag("CD298")
    (True, True, True, False)
    """
    text = clean(name)
    return len(text) <= LONGEST and _HASHTAG.fullmatch(text) is not None


def is_isotype(name: str) -> bool:
    """Return whether a name is that of an isotype control.

    Examples
    --------
    >>> is_isotype("IgG2a_control_TotalSeqB"), is_isotype("Rat-IgG1-1"), is_isotype("IgG2b.kappa"), is_isotype("IgD")
    (True, True, True, False)
    """
    spaced = re.sub(r"[\s_.,-]+", " ", clean(name))
    return len(spaced) <= LONGEST and _ISOTYPE.fullmatch(spaced) is not None
