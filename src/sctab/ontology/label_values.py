"""Labels that are not cell types, that are spelling variants of one type, or that cannot be written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from sctab import _lazy
from sctab.errors import listing
from sctab.ontology import _spelling

__dir__ = _lazy.defined_in(__file__)

_MISSING = frozenset(
    {"nan", "na", "n/a", "n.a.", "n.a", "n.d.", "n.d", "n/d", "<na>", "#n/a", "#na", "nat", "nil", "none", "null", "nul"}
    | {"missing", "(missing)", "[missing]", "<none>", "<null>", "<nan>"}
)
_UNDONE = (
    "assigned|annotated|label+ed|named|classified|defined|determined|identified|specified|resolved|known|mapped|detected|decided"
)
_NO_TYPE = re.compile(
    rf"((un|not|non) ?({_UNDONE}|certain|clear|sure|available|applicable|assignable)|to be ({_UNDONE})|"
    r"(no|without) ?(label|annotation|call|match)|no|non|not a|none of the above|nd|n d|tbd|t b d|tba|todo|pending|"
    r"unkown|unknow|unkn?|undef|unassign|unlabel|undetermined|indeterminate|inconclusive|ambigu?ous|"
    r"other|rest|misc|miscellaneous|mixed|outlier|ungated|negative|blank|bad|junk|noise|garbage|trash|lowq|"
    r"(low|poor|bad) ?(q|qual|quality|qc|umi|count)|high (mito|mt)|(qc )?fail(ed)?( qc)?|dead|dying|"
    r"debris|empty( droplet)?|ambient( rna)?|background|artifact|artefact|contamina(tion|nt|ted|ting)|"
    r"(to ?)?(removed?|excluded?|discard(ed)?|dropped|delete|reject(ed)?|filtered)( out)?)s?"
)
"""Words that say that no type is known, or that a droplet is not a cell, without "cell", "type", "cluster" and numbers."""
_NO_CELL = re.compile(r".*\b(doublets?|multiplets?|low ?quality)\b.*")
"""The same within any other words."""
_RESERVED = frozenset({"_index", "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
_LONGEST = 200
"""Bytes of a label: it becomes the name of a file in `.zarr`, which has at most 255."""


def is_missing(label: str) -> bool:
    """Return whether a label cannot be meant as a cell type: no letter or digit, or a word that programs write for a missing value.

    Examples
    --------
    >>> [is_missing(label) for label in ("NaN", " ", "N/A", "n.d.", "-", "?", "None", "Unknown", "B")]
    [True, True, True, True, True, True, True, False, False]
    """
    return not any(letter.isalnum() for letter in label) or _spelling.key(label) in _MISSING


def says_no_type(label: str) -> bool:
    """Return whether a label says that no type is known, or that a droplet is not a cell; an author may mean it as a type.

    Examples
    --------
    >>> [says_no_type(label) for label in ("Unknown", "unassigned_2", "T/B doublets", "LowQuality", "B cell")]
    [True, True, True, True, False]
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    words = re.findall(r"[a-z]+", _spelling.key(apart).replace("(s)", ""))
    plain = " ".join(word for word in words if word not in {"cell", "cells", "type", "cluster"})
    return bool(_NO_TYPE.fullmatch(plain) or _NO_CELL.fullmatch(plain))


def alike(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Labels that differ in case, blanks and underscores only, together.

    Examples
    --------
    >>> alike(["B cell", "b_cell", "T cell", "B cell "])
    [('B cell', 'B cell ', 'b_cell')]
    """
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(_spelling.key(label.replace("\u200b", "")), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def are_codes(labels: Sequence[str]) -> bool:
    """Return whether all labels are numbers, or a word and a number: clusters rather than types."""
    return bool(labels) and all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label.strip()) or _is_numbered(label) for label in labels)


def _is_numbered(label: str) -> bool:
    return re.fullmatch(r"(c|cl|cluster|clust|leiden|louvain|group|seurat clusters?) ?[ ._-]?\d+", _spelling.key(label)) is not None


def why_unwritable(labels: Sequence[str]) -> str:
    """A sentence on labels under which results cannot be stored; `""` where all can be.

    Examples
    --------
    >>> why_unwritable(["A/B", "A|B"])
    '`A/B`, `A|B` are stored under one name, since `/` is written as `|`'
    """
    if broken := [label for label in labels if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in label)]:
        return f"{listing(map(repr, broken))} {_have(broken)} control characters, such as line breaks"
    if long := [label for label in labels if len(label.encode()) > _LONGEST]:
        shown = [f"{label[:40]}…" for label in long]
        return f"{listing(shown)} {_have(long)} more than {_LONGEST} bytes"
    if reserved := [label for label in labels if label.lower() in _RESERVED]:
        return f"{listing(reserved)} {'is a name' if len(reserved) == 1 else 'are names'} that file formats keep for themselves"
    stored: dict[str, list[str]] = {}
    for label in labels:
        stored.setdefault(label.replace("/", "|"), []).append(label)
    if same := [group for group in stored.values() if len(group) > 1]:
        return f"{', '.join(f'`{label}`' for label in same[0])} are stored under one name, since `/` is written as `|`"
    return ""


def _have(labels: Sequence[str]) -> str:
    return "has" if len(labels) == 1 else "have"


def counted(labels: Sequence[str], counts: Mapping[str, int]) -> str:
    """Labels with their numbers of cells, for a message; `counts` may be a series."""
    shown = [f"{label!r} ({counts[label]} cells)" for label in labels[:10]]
    return ", ".join(shown) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")


def doubts(counts: Mapping[str, int], where: str, meant: Collection[str | None] = (), *, leave_out: str = "") -> list[str]:
    """Sentences on labels that may not be meant as types, and on spellings of one type.

    Parameters
    ----------
    counts
        Cells of each label.
    where
        What messages call the column.
    meant
        Labels that are known to be meant.
    leave_out
        How cells are left out; by default as a reference in memory does it.
    """
    notes = []
    if no_type := [label for label in counts if says_no_type(label) and label not in meant]:
        one = len(no_type) == 1
        label = f"pass `unlabeled_category={no_type[0]!r}`" if one else "give them one name and pass it as `unlabeled_category`,"
        notes.append(
            f"{counted(no_type, counts)} in {where} {'says' if one else 'say'} that there is no label or no type, and "
            f"{'is learned as a cell type' if one else 'are learned as cell types'}. "
            + (leave_out or f"Remove those cells, or {label} to learn from the others alone.")
        )
    notes += [
        f"{counted(group, counts)} in {where} differ in case, blanks or underscores only, and are learned as different types. If they "
        "are one, write them in one way, such as with `.str.strip()`."
        for group in alike(counts)
    ]
    return notes
