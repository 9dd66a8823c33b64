"""Sizes that arrays of HDF5 files claim, beside what is stored of them: a file of some kilobytes can claim terabytes."""

from __future__ import annotations

import math
from typing import Any

import h5py

from sctab.io.integrity import refuse

_NO_HARM = 64 * 2**20
"""Bytes that an array may claim whatever is stored of it: fill values are not stored."""
_MOST_PER_BYTE = 65_536
"""Largest ratio of claimed to stored bytes: deflate reaches 1,032, and filters for repeated values more."""


def claim_problem(array: Any) -> str | None:
    """Problem with the size that an array in an HDF5 file claims, beside what is stored of it; `None` where that is plausible.

    Parameters
    ----------
    array
        What is read whole: a dataset, or a group of datasets.
    """
    if isinstance(array, h5py.Group):
        return next((problem for part in array.values() if (problem := claim_problem(part))), None)
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
        return None
    claimed, stored = math.prod(array.shape) * array.dtype.itemsize, array.id.get_storage_size()
    has_filters = array.id.get_create_plist().get_nfilters() > 0
    if claimed <= max(stored * (_MOST_PER_BYTE if has_filters else 1), _NO_HARM):
        return None
    return (
        f"claims {claimed / 1e9:,.1f} GB with the shape {tuple(array.shape)} and the type {_type_of(array)}, and "
        f"{stored:,} bytes are stored of it"
    )


def require_claim(array: Any, name: str, path: str) -> None:
    """Refuse an array in an HDF5 file that claims a size that it cannot have, before memory is taken for it.

    Raises
    ------
    DataFileError
        If it does.
    """
    if problem := claim_problem(array):
        raise refuse(name, problem, path)


def _type_of(array: h5py.Dataset) -> str:
    return "string" if array.dtype.hasobject else str(array.dtype)
