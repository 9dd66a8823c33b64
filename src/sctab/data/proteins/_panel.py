"""Antibodies of a model, and how the antibodies of a dataset map to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.proteins._matching import match_names
from sctab.data.proteins._values import ProteinValues
from sctab.errors import listing

MEASURED = "proteins measured"
"""Name of the input that is 1 where the proteins of a cell were measured."""
_LARGEST = 2.0**53
_PARTS = {"names", "values", "mean", "sd"}


@dataclass(frozen=True)
class ProteinPanel:
    """Antibodies of a model, and the scale of their values in its reference.

    Examples
    --------
    >>> panel = ProteinPanel(("CD3", "CD19"), ProteinValues.COUNTS, mean=(0.5, -0.5), sd=(1.0, 1.2))
    >>> panel.input_names
    ('CD3 (protein)', 'CD19 (protein)', 'proteins measured')
    >>> panel.match(["CD19_TotalSeqB", "CD3E", "CD56"]).table()["feature"].tolist()
    ['CD3E', 'CD19_TotalSeqB']
    """

    names: tuple[str, ...]
    """As the reference has them."""
    values: ProteinValues
    """Kind of the values of the reference."""
    mean: tuple[float, ...] = field(repr=False)
    """Mean of each antibody over the measured cells of the reference; of centred log ratios where the reference held counts."""
    sd: tuple[float, ...] = field(repr=False)
    """Standard deviation, likewise; above 0."""

    def __len__(self) -> int:
        """Number of antibodies."""
        return len(self.names)

    @property
    def n_inputs(self) -> int:
        """Columns of the input: one per antibody, and one that is 1 where the cell was measured."""
        return len(self) + 1

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of these columns, such as `CD3 (protein)`."""
        return (*(f"{name} (protein)" for name in self.names), MEASURED)

    def match(self, names: Sequence[str]) -> ProteinMatch:
        """Find these antibodies among the features of a dataset, see :mod:`sctab.data.proteins._matching`."""
        positions, rules = match_names(self.names, names)
        return ProteinMatch(self, positions, rules, tuple(map(str, names)))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"names": list(self.names), "values": self.values.value, "mean": list(self.mean), "sd": list(self.sd)}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        TypeError
            If a part is of the wrong type.
        ValueError
            If a part is missing or unknown, if there are no antibodies or one occurs twice, if there are not as many means and standard
            deviations, or if one of them is not finite or a standard deviation is not above 0.
        """
        if not isinstance(values, dict):
            raise TypeError("`proteins` is not an object")
        if set(values) != _PARTS:
            raise ValueError(f"`proteins` must have {listing(sorted(_PARTS))}, and has {listing(sorted(map(str, values)))}")
        names = values["names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("`proteins.names` is not a list of strings")
        if not names or not all(name.strip() for name in names):
            raise ValueError("`proteins.names` is empty, or one of the names is")
        if repeated := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(f"antibodies occur twice: {listing(repeated)}")
        if not isinstance(values["values"], str):
            raise TypeError("`proteins.values` is not a string")
        if values["values"] not in set(ProteinValues):
            raise ValueError(f"`proteins.values` is {values['values']!r}. Available: {listing(ProteinValues)}")
        mean, sd = (_numbers(values[what], f"proteins.{what}", len(names)) for what in ("mean", "sd"))
        if min(sd) <= 0:
            raise ValueError(f"`proteins.sd` has {min(sd)}, and must be above 0")
        return cls(tuple(names), ProteinValues(values["values"]), mean, sd)


def _numbers(values: Any, what: str, n: int) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise TypeError(f"`{what}` is not a list of numbers")
    if len(values) != n:
        raise ValueError(f"`{what}` has {len(values)} numbers for {n} antibodies")
    if not all(abs(value) <= _LARGEST for value in values):  # NaN is not
        raise ValueError(f"`{what}` has a number that is not finite, or out of bounds")
    return tuple(map(float, values))


@dataclass(frozen=True)
class ProteinMatch:
    """Map from the features of one dataset to the antibodies of a model."""

    panel: ProteinPanel = field(repr=False)
    positions: NDArray[np.int32] = field(repr=False)
    """Antibody of the model for each feature, -1 for none, `(n_features,)`. Several features may have one: they are averaged."""
    rules: tuple[str, ...] = field(repr=False)
    """Rule by which each feature was matched, such as `same name`, `same antigen (PD-1 = CD279)` or `gene PDCD1`; `""` where it was not."""
    names: tuple[str, ...] = field(repr=False)
    """Names of the features."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """Mask of the model's antibodies that the dataset has, `(n_antibodies,)`."""
        found = np.zeros(len(self.panel), dtype=bool)
        found[self.positions[self.positions >= 0]] = True
        return found

    @property
    def coverage(self) -> float:
        """Fraction of the model's antibodies that the dataset has, between 0 and 1."""
        return float(self.found.mean())

    @property
    def features(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the features of each antibody of the model, empty for one that is missing."""
        found: list[list[int]] = [[] for _ in range(len(self.panel))]
        for feature, position in enumerate(self.positions.tolist()):
            if position >= 0:
                found[position].append(feature)
        return tuple(map(tuple, found))

    def table(self) -> pd.DataFrame:
        """One row per antibody of the model: `antibody`, `feature` of the dataset, and the `rule`; both are `""` where it is missing.

        Names of several features of one antibody are separated by `; `, and so are their rules where these differ.
        """
        rows = [
            (
                name,
                "; ".join(self.names[feature] for feature in features),
                "; ".join(dict.fromkeys(self.rules[feature] for feature in features)),
            )
            for name, features in zip(self.panel.names, self.features, strict=True)
        ]
        return pd.DataFrame(rows, columns=["antibody", "feature", "rule"], dtype=object)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on antibodies that are missing, or that several features have."""
        notes = []
        missing = [name for name, is_found in zip(self.panel.names, self.found, strict=True) if not is_found]
        if missing:
            n = len(self.panel)
            notes.append(f"{n - len(missing)} of the model's {n} antibodies were found in the data. Missing: {listing(missing)}.")
        if averaged := [name for name, features in zip(self.panel.names, self.features, strict=True) if len(features) > 1]:
            notes.append(f"Several features of the data measure one antigen and were averaged: {listing(averaged)}.")
        return tuple(notes)
