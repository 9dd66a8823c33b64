"""Features that are gene expression: by a column that says so, by their names, or by being there twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.genes._columns import ID_COLUMNS, is_text, normalised, strings
from sctab.data.genes._names import parts_of
from sctab.errors import InputValueError, listing

_TYPE_COLUMNS = {
    "featuretypes", "featuretype", "featurestype", "featurestypes", "featureclass", "featurebiotype", "featurekind", "modality",
    "modalities", "librarytype", "librarytypes", "libtype", "omic", "omics", "assay", "assays", "type", "types", "datatype", "analyte",
}  # fmt: skip
"""Columns that say what features are, in lower case without what joins words."""
_ASKED = {"featuretypes", "featuretype", "modality"}
"""Columns whose unknown words are reported."""
_MOST_TYPES = 40
_NOT_GENES = {
    "antibody", "antibodie", "ab", "abseq", "adt", "adtseq", "protein", "prot", "surface", "cite", "totalseq", "isotype", "epitope",
    "crispr", "guide", "grna", "sgrna", "perturbation", "multiplexing", "multiplex", "hto", "hashtag", "hashing", "hash", "cmo", "lmo",
    "mult", "barcode", "tag", "antigen", "beam", "dextramer", "tetramer", "peak", "atac", "scatac", "snatac", "chromatin", "accessibility",
    "tile", "bin", "region", "interval", "fragment", "motif", "tf", "activity", "score", "vdj", "tcr", "bcr", "clonotype", "methylation",
    "snp", "variant", "cnv", "spike", "spikein", "ercc", "sirv", "synthetic", "control", "codeword", "blank", "negative", "negprb",
    "custom", "metabolite", "lipid", "metadata", "embedding", "module", "signature", "regulon",
}  # fmt: skip
"""Words for what is measured besides genes, singular."""
_ALSO_OF_GENES = {
    "protein", "prot", "surface", "tf", "activity", "score", "module", "signature", "regulon", "control", "region", "variant", "custom",
    "synthetic", "tcr", "bcr", "vdj", "negative", "blank", "antigen", "epitope", "lipid", "metabolite", "barcode", "tag", "bin", "interval",
    "chromatin", "motif", "perturbation", "snp", "cnv", "methylation", "embedding", "metadata", "fragment",
}  # fmt: skip
"""Those of them that also describe genes, as `ribosomal protein` does."""
_GENES = {
    "gene", "gex", "transcript", "transcriptome", "transcriptomic", "expression", "coding", "pseudogene", "pseudo", "antisense", "sense",
    "intronic", "overlapping", "decay", "intron", "tec", "ribozyme", "promoter", "artifact", "artefact", "cdna", "sct",
}  # fmt: skip
_PROTEINS = {"protein", "prot", "surface", "epitope", "antigen"}
"""Values that mean protein-coding genes if a column of gene types has no other word for them."""
_NON_CODING = re.compile(
    r"\b(?:non ?coding|(?:pseudo|antisense|pseudogenes?)\b|(?:lnc|linc|nc|mi|r|t|sno|sca|mt r|mt t|misc |pi|tm|vault |y )rnas?\b)"
)
_CODING = re.compile(r"(?<!non )\bcoding\b|\bmrnas?\b|gene expression|gex|transcriptome|^genes?$")
_ASSAYS = {"gene expression", "gex", "rna", "mrna", "transcriptome"}
_PLAIN = _ASSAYS | {"gene", "genes"}
"""Words of assays, as opposed to kinds of genes: where one is used, a feature without an entry is not known to be a gene."""

_CONTIG = r"(?:[\dXYMW]{1,2}|MT|[IVX]{1,4}|(?:GL|KI|KN|KQ|KV|JH|AEMK|NC|NW|NT|NKLS|QNV)_?\w*\d(?:\.\d)?)"
_INTERVAL = re.compile(
    rf"(?:\w[\w.]*?[_-]+)?(?:(?:chr[\w.]+|{_CONTIG}):(?P<a>\d+)[-:_](?P<b>\d+)|(?:chr[\w.]+?|{_CONTIG})[-_.](?P<c>\d+)[-_.](?P<d>\d+))(?:[:_-][+*.-])?",
    re.IGNORECASE,
)
_PEAK = re.compile(
    r"(?:.*[_.-])?(?:(?:peak|tile|region|bin|interval|window|ccre|atac)[_. -]\d+|peak\d{3,})[a-z]?|peaks?[_. -]?\d+[_|:;].+"
    r"|(?:\w[\w.]*?[_-]+)?chr(?:[\w.]+:|(?:\d{1,2}|[XYM]|MT|Un)[_. -])\d.*|MA\d{4}\.\d+",
    re.IGNORECASE,
)
_MEASURED = r"(?:ADT|prot|protein|antibody|CITE|HTO|pAbO)"
_ANTIBODY = re.compile(
    "|".join(
        (
            r".*total-?seq.*",
            rf".*[_.:| -]{_MEASURED}(?:[_.-]?\d+)?",
            rf"(?:{_MEASURED}|(?-i:Ab))[_.:| -].+",
            r"CD\d\w*[_.:| -]Ab",
            r".*\((?:ADT|protein|antibody)\)",
            r"anti[_. -].+",
            r"(?:hashtag|HTO|CMO)[_. -]?\d+.*",
            r"(?:mouse|rat|hamster|human)?[_. -]?Ig[GMA].*(?:isotype|control|ctrl).*",
            r"(?:atac|peaks?|crispr|sgrna|grna|guide):.+",
        )
    ),
    re.IGNORECASE,
)
_OTHER_TAGS = re.compile(r"hashtag|HTO|CMO|atac|peak|crispr|sgrna|grna|guide", re.IGNORECASE)
_ANTIBODIES = {"antibody", "antibodie", "ab", "abseq", "adt", "adtseq", "protein", "prot", "surface", "cite", "totalseq", "isotype"}
_NUMBERED = re.compile(r"(?P<word>peak|tile|region|bin|interval|window|ccre|cre|dhs)s?\d+", re.IGNORECASE)
_FEWEST_NUMBERED = 5
"""So many of one word are not genes: `PEAK1`, `PEAK3`, `BIN1`, `BIN2` and `BIN3` are."""
_MAY_BE_OTHER = re.compile(r"peak|hash|hto|cmo|totalseq|.*ig[gma]|.*totalseq", re.IGNORECASE)
_REPEAT = re.compile(r"(?P<base>.+?)[.-]\d+")
_FEW_REPEATS, _FEWEST_SURFACE = 5, 3
"""Number of features with repeated gene names from which they may be antibodies, and if all are called `CD…`."""
_LONGEST_GAP = 20
"""Number of other features between antibodies that splits a block."""
_SURFACE = re.compile(r"CD\d", re.IGNORECASE)


@dataclass(frozen=True)
class Features:
    """Features that are gene expression, with notes."""

    is_gene: NDArray[np.bool_] = field(repr=False)
    """`(n_vars,)`."""
    notes: tuple[str, ...] = ()


def gene_expression(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Mask of features that are gene expression, `(n_vars,)`: all of them unless a column of types or their names say otherwise.

    Parameters
    ----------
    var
        Annotation of the features, `(n_vars, …)`.

    Raises
    ------
    InputValueError
        If no feature is gene expression.

    Examples
    --------
    >>> gene_expression(pd.DataFrame({"feature_types": ["Gene Expression", "Antibody Capture"]}))
    array([ True, False])
    >>> gene_expression(pd.DataFrame(index=["CD3D", "CD3_TotalSeqB", "chr1:1000-1500"]))
    array([ True, False, False])
    """
    return find_features(var).is_gene


def find_features(var: pd.DataFrame) -> Features:
    """Find the features that are gene expression, with notes on uncertain ones.

    Raises
    ------
    InputValueError
        If no feature is gene expression.
    """
    by_column, columns, notes = _by_columns(var)
    names = strings(var.index.to_series())
    other_name = (np.array([_is_other(name) for name in names], dtype=bool) | _are_numbered(names)) & (by_column == 0)
    is_gene = (by_column >= 0) & ~other_name
    if len(var) and not is_gene.any():
        if (by_column < 0).all():
            values = sorted({str(value) for column in columns for value in var[column].dropna().unique()})
            held = f"`var[{str(columns[0])!r}]` holds {listing(values)}"
        else:
            held = f"the index of `var` holds {listing(names, most=3)}"
        raise InputValueError(f"No feature is gene expression: {held}. Provide the gene expression of the experiment.")
    if other_name.any():
        examples = [name for name, is_other in zip(names, other_name, strict=True) if is_other]
        notes.append(f"Ignored features without gene names ({len(examples)}): {listing(examples, most=3)}.")
    repeated = _repeats(var, names, is_gene & (by_column != 1))
    if repeated.any():
        examples = [name for name, is_repeated in zip(names, repeated, strict=True) if is_repeated]
        notes.append(
            f"Ignored features that look like antibodies with gene names ({len(examples)}): "
            f"{listing(examples, most=3)}. Declare feature types in `var['feature_types']`: `Gene Expression` or `Antibody "
            "Capture`."
        )
    return Features(is_gene & ~repeated, tuple(notes))


def _is_other(name: str) -> bool:
    if name.isalnum() and not _MAY_BE_OTHER.match(name):  # most names
        return False
    if _INTERVAL.fullmatch(name):
        return is_region(name)
    return bool(_PEAK.fullmatch(name) or _ANTIBODY.fullmatch(name))


def is_region(name: str) -> bool:
    """Return whether a name is that of a part of the genome, such as a peak of accessible chromatin.

    Examples
    --------
    >>> is_region("chr1:1000-1500"), is_region("HLA-A"), is_region("peak_12")
    (True, False, True)
    """
    if interval := _INTERVAL.fullmatch(name):
        start, end = interval["a"] or interval["c"], interval["b"] or interval["d"]
        return int(end) > int(start) and (len(end) > 3 or "chr" in name.lower() or ":" in name)
    return _PEAK.fullmatch(name) is not None


def _are_numbered(names: Sequence[str]) -> NDArray[np.bool_]:
    """Names such as `peak1`, one of which may be a gene, and of which many cannot be."""
    words = [found["word"].lower() if (found := _NUMBERED.fullmatch(name)) else "" for name in names]
    counts = Counter(word for word, _ in {*zip(words, names, strict=True)})  # of different names
    return np.array([bool(word) and counts[word] > _FEWEST_NUMBERED for word in words], dtype=bool)


def _by_columns(var: pd.DataFrame) -> tuple[NDArray[np.int8], list[str], list[str]]:
    """Votes of columns on each feature, 1 for a gene, -1 for something else and 0 for neither; the columns; and notes."""
    said = np.zeros(len(var), dtype=np.int8)
    left_out = np.zeros(len(var), dtype=bool)
    columns: list[str] = []
    notes: list[str] = []
    for position, column in enumerate(map(str, var.columns)):
        values = var.iloc[:, position]
        if not is_text(values) or values.nunique() > _MOST_TYPES:
            continue
        types = pd.Series(strings(values), dtype=object)
        kinds = _kinds([value for value in types.unique() if value])
        if not _says_types(normalised(column), kinds):
            continue
        columns.append(column)
        is_plain = any(_words(value) in _PLAIN for value in kinds)
        if unknown := [value for value, kind in kinds.items() if kind == 0]:
            notes.append(
                f"`var[{column!r}]` holds {listing(unknown, most=5)}, an unknown feature type: "
                f"{'left out' if is_plain else 'taken as genes'}. Write `Gene Expression` for genes."
            )
            kinds |= dict.fromkeys(unknown, -1 if is_plain else 0)
        found = types.map({**kinds, "": 0}).to_numpy(dtype=np.int8)
        said = np.where((said < 0) | (found < 0), -1, np.maximum(said, found)).astype(np.int8)
        if is_plain:
            left_out |= (types == "").to_numpy()
    left_out &= said == 0
    if left_out.any():
        notes.append(f"Ignored features without an entry in {listing(columns)}: {int(left_out.sum())}.")
    return np.where(left_out, -1, said).astype(np.int8), columns, notes


def _says_types(column: str, kinds: Mapping[str, int]) -> bool:
    """Return whether a column with these values says what features are: its name does, or all of its values do."""
    found = set(kinds.values())
    if column in _ASKED:
        return bool(found)
    if column in _TYPE_COLUMNS:
        return found in ({-1}, {-1, 1}, {-1, 0, 1})
    if found != {-1, 1}:
        return False
    return any(_words(value) in _ASSAYS for value in kinds) or all(
        _found_in(_NOT_GENES - _ALSO_OF_GENES, value) for value, kind in kinds.items() if kind < 0
    )


def _words(value: str) -> str:
    return re.sub(r"[\W_]+", " ", value).strip().lower()


def _kinds(values: Sequence[str]) -> dict[str, int]:
    """Votes of the values of a column. Beside `ncRNA` or `pseudogene`, `protein` is a kind of gene and not what antibodies measure."""
    kinds = {value: _kind(value) for value in values}
    words = [_words(value) for value in values]
    if any(map(_NON_CODING.search, words)):
        unclear = _ALSO_OF_GENES - (_PROTEINS if any(map(_CODING.search, words)) else set())
        kinds |= {value: 1 for value, kind in kinds.items() if kind < 0 and not _found_in(_NOT_GENES - unclear, value)}
    return kinds


def _kind(value: str) -> int:
    """1 where a type of features is genes, -1 where it is something else, 0 where it is not known."""
    if _found_in(_NOT_GENES, value) and not _found_in({"coding", "product"}, value):
        return -1
    return int(_found_in(_GENES, value) or any(word.endswith("rna") for word in _singular(value)))


def _singular(value: str) -> list[str]:
    return [word if word in _GENES else word.removesuffix("s") for word in _words(value).split()]


def _found_in(vocabulary: set[str], value: str) -> bool:
    """Return whether a word of a value is one of these."""
    return any(word in vocabulary or ("adt" in vocabulary and word.startswith("totalseq")) for word in _singular(value))


def _repeats(var: pd.DataFrame, names: Sequence[str], candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Features that repeat the name of a gene and are antibodies.

    Cell Ranger has some symbols twice, all over the genome, each with an Ensembl id. Antibodies lie together before or behind all genes,
    many of them are called `CD…`, and they have no Ensembl id.
    """
    repeats = np.zeros(len(names), dtype=bool)
    first: dict[str, int] = {}
    for row in np.flatnonzero(candidates).tolist():
        first.setdefault(names[row], row)
    pairs = []
    for row in np.flatnonzero(candidates).tolist():
        match = _REPEAT.fullmatch(names[row])
        other = first[names[row]] if first[names[row]] != row else first.get(match["base"]) if match else None
        if other is not None and names[row]:
            pairs.append((other, row))
    ids = _ids(var) if pairs else None
    if ids is not None:
        undecided = []
        for pair in pairs:
            are_ids = [bool(parts_of(ids[row]).gene_id) for row in pair]
            if not all(are_ids):
                undecided.append(pair)
            if any(are_ids):
                repeats[[row for row, is_id in zip(pair, are_ids, strict=True) if not is_id and ids[row]]] = True
        pairs = [pair for pair in undecided if not repeats[list(pair)].any()]
    for side in (1, 0):
        for block in _runs(pairs, side):
            rows = [pair[side] for pair in block]
            if _are_antibodies(rows, sorted(pair[1 - side] for pair in block), names):
                repeats[rows] = True
                return repeats
    return repeats


def _runs(pairs: Sequence[tuple[int, int]], side: int) -> list[list[tuple[int, int]]]:
    """Pairs by the row on one side, cut where that is far from the one before."""
    runs: list[list[tuple[int, int]]] = []
    for pair in sorted(pairs, key=lambda pair: pair[side]):
        if not runs or pair[side] - runs[-1][-1][side] > _LONGEST_GAP:
            runs.append([])
        runs[-1].append(pair)
    return runs


def _are_antibodies(block: Sequence[int], twins: Sequence[int], names: Sequence[str]) -> bool:
    """Return whether rows with the names of others lie together before or behind all genes, and many are called `CD…`."""
    n_surface = sum(bool(_SURFACE.match(names[row])) for row in block)
    if len(block) < (_FEWEST_SURFACE if n_surface == len(block) else _FEW_REPEATS) or n_surface * 3 < len(block):
        return False
    span, reach = block[-1] - block[0] + 1, 3 * len(block)
    is_at_an_end = block[0] <= reach or len(names) - 1 - block[-1] <= reach
    return is_at_an_end and span <= min(len(block) + reach, len(names) // 2) and twins[-1] - twins[0] + 1 > 2 * span


def _ids(var: pd.DataFrame) -> list[str] | None:
    """The column of Ensembl ids, where most features have one."""
    for position, column in enumerate(var.columns):
        if normalised(str(column)) in ID_COLUMNS:
            ids = strings(var.iloc[:, position])
            if sum(bool(parts_of(name).gene_id) for name in ids) > 0.5 * len(ids) > 0:
                return ids
    return None


def find_antibodies(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Mask of the features that are antibodies, `(n_vars,)`: a column of types says so, or their names do.

    Parameters
    ----------
    var
        Annotation of the features, `(n_vars, …)`.

    Examples
    --------
    >>> find_antibodies(pd.DataFrame({"feature_types": ["Gene Expression", "Antibody Capture", "Peaks"]}))
    array([False,  True, False])
    """
    found = np.zeros(len(var), dtype=bool)
    for position, column in enumerate(map(str, var.columns)):
        values = var.iloc[:, position]
        if is_text(values) and normalised(column) in _TYPE_COLUMNS and values.nunique() <= _MOST_TYPES:
            kinds = {value: _kind(value) < 0 and _found_in(_ANTIBODIES, value) for value in set(strings(values))}
            found |= np.array([kinds[value] for value in strings(values)], dtype=bool)
    named = [bool(_ANTIBODY.fullmatch(name)) and not _OTHER_TAGS.match(name) for name in strings(var.index.to_series())]
    found |= np.array(named, dtype=bool)
    try:
        return found & ~find_features(var).is_gene
    except InputValueError:  # no feature is a gene
        return found
