"""Choice of the matrix of an AnnData, or of a file, that is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data._adata import require_cell_data
from sctab.data._content import Content, MatrixContent
from sctab.data._fit import Candidate, Coverage, are_same_counts, coverages, ranked, sampled_ranges
from sctab.data._inspection import inspect_matrix
from sctab.data.genes._features import gene_expression
from sctab.data.genes._match import require_genes_in_columns
from sctab.data.genes._stated import StatedSpecies
from sctab.errors import (
    BY_LAYER,
    DataFileError,
    InputValueError,
    KeyNotFoundError,
    Message,
    Parameter,
    SctabError,
    did_you_mean,
    listing,
)
from sctab.io import require_sound_view, rows_of

_RAW = "raw.X"
_COMPARABLE = 0.9
"""The matrix that a model learned from is used where it has at least this fraction of what the best one has."""
_SOME_CELLS = 5000
_DOUBTFUL = 0.5
"""Evidence below which integers are not called counts."""
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


@dataclass(frozen=True)
class LearnedMatrix:
    """The matrix that a model learned from, by which it knows that of a query."""

    name: str
    """`X`, `raw.X` or `layers['…']`."""
    content: Content | None = None
    """Its content; `None` if not recorded."""
    is_sure: bool = True
    """True if that was beyond doubt."""

    @classmethod
    def of(cls, source: Source) -> LearnedMatrix:
        """Record of the matrix of a source."""
        return cls(source.name, source.content.content, not source.content.note)

    @classmethod
    def from_json(cls, values: Any) -> LearnedMatrix | None:
        """Read what :meth:`to_json` gave; `None` for anything else."""
        try:
            return cls(str(values["name"]), Content(values["content"]), bool(values["is_sure"]))
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "content": None if self.content is None else str(self.content), "is_sure": self.is_sure}

    def is_like(self, candidate: Candidate) -> bool:
        """Return whether a matrix has its name and holds the same."""
        return (
            candidate.name == self.name
            and self.content in {None, candidate.content.content}
            and not (candidate.content.note and self.is_sure)
            and candidate.rows.nnz > 0
        )


def choose_source(
    adata: CellData,
    *,
    layer: str | None = None,
    inspect: Inspect = inspect_matrix,
    feature_weights: Coverage | None = None,
    learned: LearnedMatrix | None = None,
) -> tuple[Source, list[str]]:
    """The matrix to use, and notes on the choice.

    With `layer` it is that one: the name of a layer, `"X"`, or `"raw"`. Without, the best of `X`, `raw.X` and the layers. Some rows of each
    are read, always the same ones, and matrices are judged by how much of what the reader asks for they have, by the evidence that they
    hold counts or values convertible to counts, by whether they are the expression that `X` shows, and last by their names. Where one is
    counts and another what was made of the same counts, the counts are used. All rows of the one that is chosen are then inspected.

    Parameters
    ----------
    adata
        Cells, `(n_obs, n_vars)`.
    layer
        See above.
    inspect
        Function that determines the content of a matrix, like :func:`sctab.data.inspect_matrix`.
    feature_weights
        How much each feature of a `var` is worth, `(n_vars,)`; by default each gene the same.
    learned
        The matrix that a model learned from. One of the same name that holds the same is used, where it has about as much of the gene
        importance as the best one.

    Raises
    ------
    KeyNotFoundError
        If the layer does not exist.
    InputTypeError
        If it is not an AnnData.
    InputValueError
        If there are no cells or no genes, or if no matrix can be used; the message says what each holds.
    DataFileError
        If a file is damaged.
    """
    require_cell_data(adata)
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputValueError(f"The data has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to annotate.")
    require_sound_view(adata)
    tables = _vars(adata)
    names = [resolve(adata, layer)] if layer is not None else list(tables)
    if len(names) == 1:
        source = _inspected(adata, names[0], tables[names[0]], inspect)
        return source, _remarks(source.content)
    candidates, refused = _candidates(adata, tables)
    order = _order(candidates, feature_weights, learned)
    while order:
        best = order[0]
        try:
            source = _inspected(adata, best.name, best.var, inspect)
        except DataFileError:
            raise  # what else is in a damaged file is not to be trusted either
        except SctabError as error:
            refused[best.name] = str(error)
            candidates.remove(best)
        else:
            if source.content == best.content or best.is_inspected:
                return source, _notes(source, best, candidates, refused, feature_weights, learned)
            best.learn(source.content)  # all of its rows show something else than those that were looked at
        order = _order(candidates, feature_weights, learned)
    raise InputValueError(" ".join(refused.values()) if refused else "The data has neither `X` nor `raw` nor layers.")


def reference_source(adata: CellData, layer: str | None) -> tuple[Source, list[str]]:
    """The matrix that is learned from, which is never chosen: `layer`, see :func:`choose_source`, and `X` where that is `None`.

    Raises
    ------
    KeyNotFoundError, DataFileError
        As for :func:`choose_source`.
    InputValueError
        As for :func:`choose_source`; the message names a matrix that could be learned from instead.
    """
    require_sound_view(adata)
    name = resolve(adata, layer)
    try:
        source = _inspected(adata, name, _vars(adata)[name], inspect_matrix)
        if source.content.is_empty:
            raise InputValueError(f"`{name}` must hold counts to learn from, and all of its values are zero.")
    except InputValueError as error:
        raise InputValueError(error.message, _alternative(adata, name)) from error
    return source, _remarks(source.content)


def _alternative(adata: CellData, name: str) -> Message:
    """Another matrix that can be used, for an error message."""
    try:
        source, _ = choose_source(adata)
    except SctabError:
        return Message()
    key = {"X": "X", _RAW: "raw"}.get(source.name) or next(key for key in adata.layers if f"layers[{key!r}]" == source.name)
    if source.name == name:
        return Message()
    return Message(f" `{source.name}` holds {source.content.content}: it is used with ", Parameter("layer", key), ".")


def _order(candidates: list[Candidate], feature_weights: Coverage | None, learned: LearnedMatrix | None) -> list[Candidate]:
    order = ranked(candidates, feature_weights)
    if learned is not None:
        share = coverages(candidates, feature_weights)
        order.sort(key=lambda candidate: not (learned.is_like(candidate) and share[candidate] >= _COMPARABLE))
    return order


def _candidates(adata: CellData, tables: Mapping[str, pd.DataFrame]) -> tuple[list[Candidate], dict[str, str]]:
    """Candidates among the matrices, from some of their rows; and the reasons why others cannot be used."""
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    ranges = sampled_ranges(adata.n_obs)
    for name, var in tables.items():
        try:
            candidates.append(Candidate(name, var, _columns(var), rows_of(_matrix(adata, name), ranges, name)))
        except DataFileError:
            raise
        except SctabError as error:
            refused[name] = str(error)
    return candidates, refused


def _remarks(content: MatrixContent) -> list[str]:
    return [text for text in (content.note, content.remark) if text]


def _inspected(adata: CellData, name: str, var: pd.DataFrame, inspect: Inspect) -> Source:
    matrix = _matrix(adata, name)
    return Source(name, matrix, var, inspect(matrix, name=name, columns=_columns(var)))


def _notes(
    source: Source,
    best: Candidate,
    candidates: list[Candidate],
    refused: Mapping[str, str],
    feature_weights: Coverage | None,
    learned: LearnedMatrix | None,
) -> list[str]:
    notes = _remarks(source.content)
    by_name = {candidate.name: candidate for candidate in candidates}
    if source.name == "X":
        differing = [
            other.name
            for other in candidates
            if other.name_score > 0 and other.is_counts and other.rows.nnz and not are_same_counts(other, best)
        ]
        if differing and not best.is_counts:
            notes.append(
                Message.of(
                    f"`X` was used, which holds {best.content.content}; {listing(sorted(differing))} "
                    f"{'hold' if len(differing) > 1 else 'holds'} counts that `X` was not computed from. Set {BY_LAYER} to choose.",
                    BY_LAYER,
                )
            )
        return notes
    share = coverages(candidates, feature_weights)
    others = []
    for name in ("X", _RAW):
        if name in refused:
            reason = refused[name].split(". ")[0].split(", so that")[0]
            its = reason.removeprefix(f"`{name}` ")
            others.append(f"`{name}` cannot be used{', since it ' if its != reason else ': '}{its}")
        elif name != source.name and name in by_name:
            other = by_name[name]
            if not other.rows.nnz:
                others.append(f"`{name}` is empty")
            elif share[other] < share[best]:
                others.append(f"`{name}` holds {_described(other)} and covers {share[other]:.0%} of it")
            else:
                others.append(f"`{name}` holds {_described(other)}")
    if learned is not None and learned.is_like(best):
        notes.append(f"`{source.name}` was used, as in the training of the model: it holds {source.content.content}.")
    elif others:
        notes.append(f"`{source.name}` was used, which holds {source.content.content}; {'; '.join(others)}.")
    return notes


def _described(candidate: Candidate) -> str:
    if candidate.evidence < _DOUBTFUL:
        return "integers that are unlikely to be counts"
    return "integers of the same sum in every cell" if candidate.are_rounded else str(candidate.content.content)


def matrices(adata: CellData) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Name, matrix and `var` of `X`, `raw.X` and every layer, layers by name."""
    for name, var in _vars(adata).items():
        yield name, _matrix(adata, name), var


def resolve(adata: CellData, layer: str | None) -> str:
    """Name of the matrix that `layer` means: a layer of that name, else `"X"` or `"raw"`; `None` is `X`.

    Raises
    ------
    KeyNotFoundError
        If there is none.
    """
    names = _vars(adata)
    key = f"layers[{layer!r}]"
    if key in names:
        return key
    wanted = {None: "X", "X": "X", "raw": _RAW, _RAW: _RAW}.get(layer, "")
    if wanted in names:
        return wanted
    if layer is None:
        raise KeyNotFoundError(
            "`X`, the default without ", Parameter("layer"), f", is not in the data. Available: {listing(names)}."
        )
    layers = [name.removeprefix("layers['").removesuffix("']").removesuffix(".X") for name in names]
    raise KeyNotFoundError(
        Parameter("layer", layer), f" is not in the data.{did_you_mean(layer, layers)} Available: {listing(names)}."
    )


def vars_of(mdata: Any) -> dict[str, pd.DataFrame]:
    """The features of each modality of a MuData, by its name."""
    return {name: part.var for name, part in mdata.mod.items()}


def var_of(adata: CellData, layer: str | None) -> pd.DataFrame:
    """The features of the matrix that `layer` means, see :func:`resolve`."""
    return _vars(adata)[resolve(adata, layer)]


def some_cells(adata: CellData) -> list[str]:
    """Names of some thousand cells, as many as it takes to see whether they are those of genes."""
    n_cells = min(adata.n_obs, _SOME_CELLS)
    return list(adata.names(0, n_cells)) if hasattr(adata, "names") else [str(name) for name in adata.obs_names[:n_cells]]


def require_cells_in_rows(adata: CellData) -> None:
    """Refuse a reference whose genes are in the rows.

    Raises
    ------
    GeneOverlapError
        If they are.
    """
    require_genes_in_columns(adata.var, lambda: some_cells(adata))


def stated_species(adata: CellData, source: str = "") -> StatedSpecies:
    """Of which species cells are said to be; `source` is how notes call the dataset, where there are several."""
    return StatedSpecies.of(adata.obs, getattr(adata, "uns", {}), source=source)


def _vars(adata: CellData) -> dict[str, pd.DataFrame]:
    """The `var` of each matrix, by its name; layers in alphabetical order, as files keep them."""
    var = adata.var
    found = {} if _x(adata) is None else {"X": var}
    if adata.raw is not None:
        found[_RAW] = adata.raw.var
    # anndata 0.13 lists `X` among the layers as `None`
    return found | {f"layers[{key!r}]": var for key in sorted((key for key in adata.layers if key is not None), key=str)}


def _x(adata: CellData) -> Any:
    try:
        return adata.X
    except KeyError:  # anndata looks for it in a file that has none
        return None


def _matrix(adata: CellData, name: str) -> Any:
    if name == "X":
        return _x(adata)
    if name == _RAW:
        return adata.raw.X
    return next(adata.layers[key] for key in adata.layers if f"layers[{key!r}]" == name)


def _columns(var: pd.DataFrame) -> NDArray[np.bool_] | None:
    is_gene = gene_expression(var)
    return None if is_gene.all() else is_gene
