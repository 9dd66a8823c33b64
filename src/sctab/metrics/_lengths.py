"""Check that arrays describe the same cells."""

from __future__ import annotations

from typing import Any


def require_same_length(**arrays: Any) -> None:
    """Refuse arrays of different numbers of cells; they are named as the parameters are."""
    lengths = {name: values.shape[0] if hasattr(values, "shape") else len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        *others, last = (f"`{name}`" for name in lengths)
        raise ValueError(
            f"{', '.join(others)} and {last} have inconsistent numbers of samples: {', '.join(map(str, lengths.values()))}."
        )
