"""Curation of the cells of a corpus: declared rules, each of which reports what it removes.

The rules and their numbers are those of Fischer et al. (2023, :doi:`10.1101/2023.10.07.561331`, Methods, "Dataset").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.corpus._cells import Cells
from sctab.errors import SettingError
from sctab.ontology import CellOntology


class Filter(ABC):
    """A rule that keeps some cells."""

    name: ClassVar[str]
    """Name of the rule in a YAML file."""

    @abstractmethod
    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        """Mask of the cells that stay, `(n_obs,)`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the rule."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class PrimaryData(Filter):
    """Keep cells that are in their first place: collections such as CELLxGENE have many of them again in atlases."""

    name: ClassVar[str] = "primary_data"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        del ontology
        return cells.is_primary


@dataclass(frozen=True)
class Assays(Filter):
    """Keep cells that were measured with one of some assays."""

    assays: tuple[str, ...]
    name: ClassVar[str] = "assays"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        del ontology
        return _has_name(cells, "assay", np.isin(cells.names["assay"], self.assays))


@dataclass(frozen=True)
class SubtypeOf(Filter):
    """Keep cells whose label is a kind of a term of the Cell Ontology, such as `CL:0000003`, native cell."""

    term: str
    name: ClassVar[str] = "subtype_of"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        above = ontology.find(self.term)
        if above is None:
            raise SettingError(
                f"`subtype_of: {self.term}` is not in the Cell Ontology. Provide a term such as `CL:0000003`, or a name."
            )
        terms = cells.label_space(ontology).ids
        return _has_name(
            cells, "label", np.array([term is not None and ontology.is_kind_of(term, above) for term in terms], dtype=bool)
        )


@dataclass(frozen=True)
class MinCells(Filter):
    """Keep types of which there are enough cells."""

    n: int = 5000
    name: ClassVar[str] = "min_cells"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        del ontology
        return _has_name(cells, "label", cells.per_name("label") >= self.n)


@dataclass(frozen=True)
class MinDonors(Filter):
    """Keep types that enough donors have: what a model has learned of them can then be tested on other donors."""

    n: int = 30
    name: ClassVar[str] = "min_donors"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        del ontology
        return _has_name(cells, "label", cells.donors_per_label() >= self.n)


@dataclass(frozen=True)
class MinAncestors(Filter):
    """Keep labels that have enough terms above them in the Cell Ontology: the others are too general to be useful."""

    n: int = 7
    name: ClassVar[str] = "min_ancestors"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        terms = cells.label_space(ontology).ids
        return _has_name(
            cells, "label", np.array([term is not None and len(ontology.ancestors(term)) >= self.n for term in terms], dtype=bool)
        )


FILTERS: dict[str, type[Filter]] = {cls.name: cls for cls in (PrimaryData, Assays, SubtypeOf, MinCells, MinDonors, MinAncestors)}


@dataclass(frozen=True)
class Step:
    """Cells that a rule removed."""

    filter: Filter
    n_cells: int
    """Cells that it removed."""
    types: tuple[str, ...]
    """Types of which it left no cell."""
    n_donors: int
    """Donors of whom it left no cell."""


def curate(cells: Cells, filters: Sequence[Filter], ontology: CellOntology) -> tuple[Cells, list[Step]]:
    """Apply rules one after another, each to what the ones before it have left; cells without a label are left out first.

    Parameters
    ----------
    cells
        All cells.
    filters
        The rules, in order.
    ontology
        Of cell types.

    Returns
    -------
    The cells that are left, and what each rule removed; the first step is that of cells without a label.
    """
    steps = []
    for rule in (_Labelled(), *filters):
        left = cells.take(rule.keeps(cells, ontology))
        before, after = cells.per_name("label"), left.per_name("label")
        gone = tuple(name for name, had, has in zip(cells.names["label"], before, after, strict=True) if had and not has)
        steps.append(Step(rule, len(cells) - len(left), gone, cells.n_names("donor") - left.n_names("donor")))
        cells = left
    return cells, steps


@dataclass(frozen=True)
class _Labelled(Filter):
    """Keep cells that have a label."""

    name: ClassVar[str] = "labelled"

    def keeps(self, cells: Cells, ontology: CellOntology) -> NDArray[np.bool_]:
        del ontology
        return cells.codes["label"] >= 0


def duplicated(cells: Cells) -> NDArray[np.bool_]:
    """Cells whose barcode in their dataset was there before, in this file or another one, `(n_obs,)`."""
    return pd.Series(cells.barcode).duplicated().to_numpy()


def _has_name(cells: Cells, column: str, is_kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    codes = cells.codes[column]
    return (codes >= 0) & np.append(is_kept, False)[codes]
