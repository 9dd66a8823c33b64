"""Cells of a query that the model was trained on: confidence in them is too high, and scores on them say nothing about new cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sctab.data import Query
from sctab.inference import Fingerprints, Predictor, beyond_chance, sample_ranges

_MOST_CELLS = 2_000


@dataclass(frozen=True)
class LearnedCells:
    """Cells of a sample of a query that the model recognises as training data, more than by chance."""

    n_learned: int
    n_cells: int
    """Cells of the sample: all of a small query, and 2,000 from 50 places of a large one."""

    @classmethod
    def of(cls, predictor: Predictor, query: Query) -> Self | None:
        """Look for training data in a query; `None` where there is none, or where the model keeps no fingerprints.

        Parameters
        ----------
        predictor, query
            The model and the cells.
        """
        fingerprints = Fingerprints.from_arrays(predictor.arrays, n_genes=len(predictor.spec.features))
        if fingerprints is None:
            return None
        n_learned, n_cells = 0, 0
        for block in query.read(sample_ranges(query.n_obs, _MOST_CELLS)):
            values, _ = query.recipe.apply(*block, slice(0, block[0].shape[0]))
            n_learned += int(fingerprints.recognise(values).sum())
            n_cells += values.shape[0]
        found = cls(n_learned, n_cells)
        return found if beyond_chance(n_learned, n_cells, fingerprints.false_positive_rate()) else None

    @property
    def note(self) -> str:
        """Note for the user."""
        which = (
            "all cells" if self.n_learned == self.n_cells else f"{self.n_learned:,} of {self.n_cells:,} cells that were looked at"
        )
        return (
            f"The training data of the model holds {which}: confidence in them is too high, the promise does not cover them, and scores on "
            "them say nothing about new cells."
        )

    def to_uns(self) -> dict[str, int]:
        """The record for `uns`."""
        return {"n_learned": self.n_learned, "n_cells": self.n_cells}
