"""Cells of a query whose evidence lies in labels that cannot occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sctab.inference import Decision, Expected
from sctab.keys import OBS_EXCLUDED, OBS_IS_UNSEEN
from sctab.ontology import LabelSpace


@dataclass(frozen=True)
class ExcludedCells:
    """Labels that can occur in a query, and how much of its evidence lies outside."""

    expected: Expected
    n_cells: int
    """Cells with a count in the model's genes."""
    n_outside: int
    """Those of them that get no label."""
    mean: float
    """Mean probability of the excluded labels; NaN where there are no cells."""

    @classmethod
    def of(cls, expected: Expected | None, decision: Decision) -> Self | None:
        """Count the cells of a query; `None` where all labels can occur.

        Parameters
        ----------
        expected
            Labels that can occur.
        decision
            On all cells.
        """
        if expected is None or decision.excluded is None:
            return None
        excluded = decision.excluded[decision.measured]
        mean = float(excluded.mean(dtype=np.float64)) if len(excluded) else np.nan
        return cls(expected, len(excluded), int(decision.outside.sum()), mean)

    @property
    def notes(self) -> list[str]:
        """Notes for the user."""
        found = list(self.expected.notes)
        if self.n_outside:
            found.append(
                f"{self.n_outside:,} of {self.n_cells:,} cells are more likely of a type that is not expected. They get no label and count "
                f"as unseen: see the columns `…_{OBS_EXCLUDED}` and `…_{OBS_IS_UNSEEN}`."
            )
        return found

    def to_uns(self, labels: LabelSpace) -> dict[str, Any]:
        """The record for `uns`.

        Parameters
        ----------
        labels
            Those of the model.
        """
        return {
            "requested": np.array(self.expected.requested),
            "labels": np.array(self.expected.names(labels)),
            "n_cells": self.n_cells,
            "n_outside": self.n_outside,
            "mean_excluded": self.mean,
        }
