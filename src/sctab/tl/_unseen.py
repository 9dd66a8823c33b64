"""Cells of a query that are reported as of types that the model has not learned."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sctab.errors import InputValueError, Parameter, SettingError
from sctab.inference import MOST_UNSEEN, Predictor, largest_p_value
from sctab.keys import OBS_IS_UNSEEN, OBS_UNSEEN


@dataclass(frozen=True)
class Reported:
    """Cells of a query that are reported, and how many they are."""

    fdr: float
    """Accepted false discovery rate."""
    largest: float
    """The largest p-value that is reported; -1 where none is."""
    n_reported: int
    n_cells: int
    """Cells with a count in the model's genes."""
    note: str = ""
    """Note on how they were looked for."""

    @classmethod
    def of(cls, p_values: NDArray[np.floating] | None, fdr: float, note: str) -> Self:
        """Report cells of a query.

        Parameters
        ----------
        p_values
            Of all cells, `(n_obs,)`, NaN for those without a count in the model's genes; `None` where no cell has any.
        fdr, note
            Accepted false discovery rate, and the note on the test.
        """
        if p_values is None:
            return cls(fdr, -1.0, 0, 0, note)
        largest = largest_p_value(p_values, fdr)
        return cls(fdr, largest, int((p_values <= largest).sum()), int(np.isfinite(p_values).sum()), note)

    def require_few(self, predictor: Predictor, *, force: bool, where: str = "") -> None:
        """Refuse a query most of whose cells no label fits.

        Parameters
        ----------
        predictor
            The model.
        force
            Refuse nothing.
        where
            Name of the file, where there are several.

        Raises
        ------
        InputValueError
            If more than half of the cells are reported.
        """
        if force or self.n_reported <= MOST_UNSEEN * self.n_cells:
            return
        raise InputValueError(
            f"{where}{self.n_reported:,} of {self.n_cells:,} cells ({self.n_reported / self.n_cells:.0%}) fit none of the "
            f"{len(predictor.spec.labels)} labels of the model, at a false discovery rate of {self.fdr:g}: most labels would be wrong. Use "
            "a model of the same tissue and protocol, or annotate the cells all the same with ",
            Parameter("force", value=True),
            ".",
        )

    @property
    def notes(self) -> list[str]:
        """Notes for the user."""
        found = [self.note] if self.note else []
        if self.n_reported:
            found.append(
                f"{self.n_reported:,} of {self.n_cells:,} cells fit none of the labels, at a false discovery rate of {self.fdr:g}: see the "
                f"columns `…_{OBS_UNSEEN}` and `…_{OBS_IS_UNSEEN}`. The rate holds for cells like those of the reference; where types that "
                "it has are reported, the query differs from it as a whole, such as in protocol."
            )
        return found

    def columns(self, p_values: NDArray[np.floating] | None, n_obs: int) -> dict[str, NDArray[np.generic]]:
        """Columns of `obs`, by suffix, `(n_obs,)` each.

        Parameters
        ----------
        p_values
            Of some cells, NaN for those without a count; `None` where no cell of the query has any.
        n_obs
            Number of these cells.
        """
        values = np.full(n_obs, np.nan, dtype=np.float32) if p_values is None else p_values
        return {OBS_UNSEEN: values, OBS_IS_UNSEEN: values <= np.float32(self.largest)}

    def to_uns(self) -> dict[str, Any]:
        """The record for `uns`."""
        return {"fdr": self.fdr, "largest_p_value": self.largest, "n_reported": self.n_reported, "n_cells": self.n_cells}


def check_fdr(fdr: float | None) -> None:
    """Refuse what is not a rate.

    Raises
    ------
    SettingError
        If it is not between 0 and 1.
    """
    if fdr is not None and not (isinstance(fdr, Real) and 0 < fdr < 1):
        raise SettingError(Parameter("unseen_fdr", fdr), " must be between 0 and 1, such as 0.1.")
