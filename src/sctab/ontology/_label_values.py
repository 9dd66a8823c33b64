"""Labels that stand for no cell type, that are one type in several spellings, or that cannot be written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from sctab._errors import listing
from sctab.ontology import _spelling

_MISSING = frozenset(
    {"nan", "na", "n/a", "n.a.", "n.a", "<na>", "#n/a", "#na", "nat", "nil", "none", "null", "nul", "missing"}
    | {"(missing)", "[missing]", "<none>", "<null>", "<nan>"}
)
_NO_TYPE = frozenset(
    """
    unknown|unkown|unknow|unk|unassigned|not assigned|unannotated|not annotated|unlabeled|unlabelled|no label|unclassified|undefined|
    undetermined|unidentified|unspecified|unresolved|uncertain|ambiguous|not available|not applicable|to be determined|tbd|other|others|
    doublet|multiplet|low quality|poor quality|bad quality|lowq|low q|debris|junk|noise|artifact|artefact|contamination|contaminant|
    removed|remove|excluded|exclude|filtered|filtered out|discard|discarded|outlier|mixed|misc|miscellaneous|rest|ungated|negative
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)
_RESERVED = frozenset({"_index", "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
_LONGEST = 200
"""Bytes of a label: it becomes the name of a file in `.zarr`, which has at most 255."""


def is_missing(label: str) -> bool:
    """Whether a label cannot be meant as a cell type: no letter or digit, or a word that programs write for a missing value.

    Examples
    --------
    >>> [is_missing(label) for label in ("NaN", " ", "N/A", "<NA>", "-", "?", "None", "Unknown", "B")]
    [True, True, True, True, True, True, True, False, False]
    """
    return not any(letter.isalnum() for letter in label) or _spelling.key(label) in _MISSING


def says_no_type(label: str) -> bool:
    """Whether a label says that no type is known, or that a droplet is no cell; an author may mean it as a type.

    Examples
    --------
    >>> [says_no_type(label) for label in ("Unknown", "unassigned_2", "Doublets", "low-quality cells", "B cell")]
    [True, True, True, True, False]
    """
    plain = re.sub(r"[^a-z ]+", " ", _spelling.key(label).replace("-", " ").replace("(s)", ""))
    words = [word for word in plain.split() if word not in {"cell", "cells", "type", "cluster"}]
    plain = " ".join(words)
    return plain in _NO_TYPE or plain.removesuffix("s") in _NO_TYPE


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
    """Whether all labels are numbers, or a word and a number: clusters rather than types."""
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


def doubts(counts: Mapping[str, int], where: str, meant: Collection[str | None] = ()) -> list[str]:
    """Sentences on labels that may not be meant as types, and on spellings of one type.

    Parameters
    ----------
    counts
        Cells of each label.
    where
        What messages call the column.
    meant
        Labels that are known to be meant.
    """
    told = []
    if no_type := [label for label in counts if says_no_type(label) and label not in meant]:
        told.append(
            f"{counted(no_type, counts)} in {where} {'says' if len(no_type) == 1 else 'say'} that there is no label or no type, and "
            f"{'is' if len(no_type) == 1 else 'are'} learned as cell types. Remove those cells, or pass "
            f"`unlabeled_category={no_type[0]!r}` to learn from the others alone."
        )
    told += [
        f"{counted(group, counts)} in {where} differ in case, blanks or underscores only, and are learned as different types. If they "
        "are one, write them in one way, such as with `.str.strip()`."
        for group in alike(counts)
    ]
    return told
