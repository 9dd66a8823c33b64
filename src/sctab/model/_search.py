"""Search spaces of model classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both ends are."""

    low: float
    high: float
    log: bool = False
    """Look at orders of magnitude: 0.001 to 0.01 is as wide as 0.01 to 0.1."""

    @property
    def is_whole(self) -> bool:
        """Return whether only integers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class SearchSpace:
    """Search space of a model class: settings by name, for its constructor and for `train`."""

    model: Mapping[str, Range | Choice]
    train: Mapping[str, Range | Choice]
