"""Which matrix of an AnnData, or of a file, is used, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab._errors import DataFileError, InputValueError, KeyNotFoundError, SctabError, listing
from sctab.counts import Content, MatrixContent, inspect_matrix
from sctab.genes import gene_expression

_RAW = "raw.X"
CellData = Any
"""An AnnData, or what has its `n_obs`, `n_vars`, `X`, `raw`, `layers`, `var` and `obs` where a file is read as it goes."""
Inspect = Callable[..., MatrixContent]


@dataclass(frozen=True)
class Source:
    """One matrix of an AnnData, and what it holds."""

    name: str
    """`X`, `raw.X` or `layers['…']`."""
    matrix: Any = field(repr=False)
    var: pd.DataFrame = field(repr=False)
    content: MatrixContent


def choose_source(adata: CellData, *, layer: str | None = None, inspect: Inspect = inspect_matrix) -> tuple[Source, list[str]]:
    """The matrix to annotate from, and notes on the choice.

    With `layer` it is that one: the name of a layer, `"X"`, or `"raw"`. Without, `X`, `raw.X` and every layer are looked at in this
    order, and the first that holds counts is taken; where none does, the first that can be brought back to the scale of counts.

    Raises
    ------
    KeyNotFoundError
        When there is no such layer.
    InputValueError
        When there are no cells or no genes, or when no matrix can be used; the message says what each holds.
    DataFileError
        When a file is damaged.
    """
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputValueError(f"The data has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to annotate.")
    if layer is not None:
        name, matrix, var = _named(adata, layer)
        source = Source(name, matrix, var, inspect(matrix, name=name, columns=_columns(var)))
        return source, _notes(source)

    usable: list[Source] = []
    refused: dict[str, str] = {}
    for name, matrix, var in matrices(adata):
        try:
            source = Source(name, matrix, var, inspect(matrix, name=name, columns=_columns(var)))
        except DataFileError:
            raise  # what else is in a damaged file is not to be trusted either
        except SctabError as error:
            refused[name] = str(error)
            continue
        if source.content.content is Content.COUNTS and not source.content.note:
            return source, _notes(source, usable, refused)
        usable.append(source)
    if not usable:
        raise InputValueError(" ".join(refused.values()) if refused else "The data has neither `X` nor `raw` nor layers.")
    usable.sort(key=lambda source: bool(source.content.note))  # what is certain goes before what was assumed
    return usable[0], _notes(usable[0], (), refused)


def _notes(source: Source, passed: list[Source] | tuple[()] = (), refused: dict[str, str] | None = None) -> list[str]:
    notes = [source.content.note] if source.content.note else []
    if source.name != "X" and (passed or refused):
        others = [f"`{other.name}` holds {other.content.content}" for other in passed] + [
            f"`{name}` cannot be used, since it {reason.split('. ')[0].split(', so that')[0].removeprefix(f'`{name}` ')}"
            for name, reason in (refused or {}).items()
        ]
        notes.append(f"`{source.name}` was used, which holds {source.content.content}; {'; '.join(others)}.")
    return notes


def matrices(adata: CellData) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Name, matrix and `var` of `X`, `raw.X` and every layer."""
    if adata.X is not None:
        yield "X", adata.X, adata.var
    if adata.raw is not None:
        yield _RAW, adata.raw.X, adata.raw.var
    for key in _layer_names(adata):
        yield f"layers[{key!r}]", adata.layers[key], adata.var


def _named(adata: CellData, layer: str) -> tuple[str, Any, pd.DataFrame]:
    if layer in _layer_names(adata):
        return f"layers[{layer!r}]", adata.layers[layer], adata.var
    if layer == "X" and adata.X is not None:
        return "X", adata.X, adata.var
    if layer in {"raw", _RAW} and adata.raw is not None:
        return _RAW, adata.raw.X, adata.raw.var
    known = [name for name, _, _ in matrices(adata)]
    raise KeyNotFoundError(f"`layer={layer!r}` is not in the data. It has: {listing(known)}.")


def _layer_names(adata: CellData) -> list[str]:
    return [key for key in adata.layers if key is not None]  # anndata 0.13 lists `X` among the layers as `None`


def _columns(var: pd.DataFrame) -> NDArray[np.bool_] | None:
    is_gene = gene_expression(var)
    return None if is_gene.all() else is_gene
