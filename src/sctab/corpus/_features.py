"""The genes of a corpus, from those of its sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.corpus._config import INTERSECTION, UNION
from sctab.data import FeatureSpace, Species
from sctab.errors import DataFileError, GeneOverlapError, InputValueError, Parameter, listing
from sctab.io import as_path
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE


@dataclass(frozen=True)
class CorpusGenes:
    """The genes of a corpus, and which source measured which."""

    features: FeatureSpace
    is_measured: NDArray[np.bool_]
    """`(n_sources, n_vars)`: a gene that a source did not measure is zero there, and not known to be zero."""


def join_genes(spaces: Sequence[FeatureSpace], features: str | FeatureSpace, *, names: Sequence[str] | None = None) -> CorpusGenes:
    """Bring the genes of several sources together.

    Sources may name genes by Ensembl id, by symbol, or by both: a source that knows both tells what belongs together, so that those with
    most genes of both kinds come first.

    Parameters
    ----------
    spaces
        The genes of each source.
    features
        `"union"`: genes of any source. `"intersection"`: genes of all. Or the genes themselves.
    names
        What errors and warnings call the sources.

    Raises
    ------
    GeneOverlapError
        If sources, or the genes that are given, are of different species, or if sources have no gene in common: nothing connects the
        names of their genes.

    Examples
    --------
    >>> by_symbol = FeatureSpace(ids=("", ""), symbols=("CD3D", "NKG7"))
    >>> by_id = FeatureSpace(ids=("ENSG00000167286",), symbols=("",))
    >>> both = FeatureSpace(ids=("ENSG00000167286", "ENSG00000156738"), symbols=("CD3D", "MS4A1"))
    >>> joined = join_genes([by_symbol, by_id, both], "union")
    >>> joined.features.names
    ('CD3D', 'MS4A1', 'NKG7')
    >>> joined.is_measured.astype(int).tolist()
    [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    """
    names = [f"source {i}" for i in range(1, len(spaces) + 1)] if names is None else names
    given = [] if isinstance(features, str) else [features]
    _require_one_species([*given, *spaces], [*("features" for _ in given), *names])
    space = _union(spaces) if isinstance(features, str) else features
    measured = np.stack([space.match(_table(part)).found for part in spaces])
    apart = [name for name, found in zip(names, measured, strict=True) if not found.any()]
    if isinstance(features, str) and len(spaces) > 1:
        shared = measured.sum(axis=0)
        apart = [name for name, found in zip(names, measured, strict=True) if not (shared[found] > 1).any()]
    if apart:
        raise GeneOverlapError(
            f"{listing(apart)} shares no gene with the others. Where some sources have symbols and others Ensembl ids, one is needed "
            "that has both; or give the genes as `features`, a table with both."
        )
    if features == INTERSECTION:
        kept = np.flatnonzero(measured.all(axis=0))
        if not kept.size:
            raise GeneOverlapError('The sources have no gene in common. Use `features="union"`, or exclude a source.')
        space, measured = space.subset(kept.tolist()), measured[:, kept]
    return CorpusGenes(space, measured)


def given_genes(features: str | tuple[str, ...] | FeatureSpace) -> str | FeatureSpace:
    """`"union"` and `"intersection"` as they are, and other declarations resolved to genes.

    Raises
    ------
    DataFileError
        If it is a path, and no genes can be read from it.
    """
    if isinstance(features, FeatureSpace):
        return features
    if isinstance(features, str):
        return features if features in {UNION, INTERSECTION} else read_genes(features)
    return FeatureSpace.from_var(pd.DataFrame(index=pd.Index(features)))


def read_genes(path: str | Path) -> FeatureSpace:
    """Genes from a table, `.parquet` or `.csv`, whose index or columns hold Ensembl ids or symbols, or those of a model in a directory.

    Raises
    ------
    DataFileError
        If it cannot be read or holds no genes.
    """
    path = as_path(path)
    if not path.exists():
        raise DataFileError(
            Parameter("features"),
            f": `{path}` not found. Provide `{UNION}`, `{INTERSECTION}`, names of genes, a `.parquet` or `.csv`, or the "
            "directory of a model.",
        )
    if path.is_dir():
        return _genes_of_model(path)
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, index_col=0)
        return FeatureSpace.from_var(table.set_axis(table.index.astype(str)))
    except (ValueError, OSError, InputValueError) as error:
        raise DataFileError(f"`{path}` cannot be read as a table of genes: {error}") from error


def _genes_of_model(path: Path) -> FeatureSpace:
    if (path / ENSEMBLE_FILE).exists():
        path = path / "member_0"  # all members have the same genes
    try:
        values = json.loads((path / SPEC_FILE).read_text(encoding="utf-8"))
        return FeatureSpace.from_json(values["features"])
    except FileNotFoundError as error:
        raise DataFileError(
            Parameter("features"),
            f": `{path}` is not a model: it has no `{SPEC_FILE}`. Provide a directory that `model.save` wrote, or a table of genes.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputValueError) as error:
        raise DataFileError(f"`{path / SPEC_FILE}` cannot be read: {error}. Copy the model again.") from error


def _require_one_species(spaces: Sequence[FeatureSpace], names: Sequence[str]) -> None:
    first: dict[Species, str] = {}
    for name, space in zip(names, spaces, strict=True):
        if space.species is not None:
            first.setdefault(space.species, name)
    for (one, name), (other, other_name) in combinations(first.items(), 2):
        if one.contradicts(other):
            raise GeneOverlapError(f"`{name}` is {one.name} and `{other_name}` is {other.name}. Build a corpus from one species.")


def _union(spaces: Sequence[FeatureSpace]) -> FeatureSpace:
    def n_with_both(space: FeatureSpace) -> int:
        return sum(1 for gene_id, symbol in zip(space.ids, space.symbols, strict=True) if gene_id and symbol)

    first, *others = sorted(spaces, key=lambda space: (-n_with_both(space), -len(space)))
    for other in others:
        found = first.match(_table(other)).positions >= 0
        new = other.subset(np.flatnonzero(~found).tolist())
        first = FeatureSpace(
            ids=first.ids + new.ids,
            symbols=first.symbols + new.symbols,
            other_ids={**first.other_ids, **{len(first) + i: ids for i, ids in new.other_ids.items()}},
        )
    return first


def _table(space: FeatureSpace) -> pd.DataFrame:
    return pd.DataFrame({"id": space.ids, "symbol": space.symbols}, index=pd.Index(space.names))
