"""Heaps of HDF5 files, in which strings lie.

A damaged heap can hold an object that takes no space. HDF5 steps over it forever, in compiled code that nothing interrupts. So the strings
and attributes of a file are first read through Python, which looks at each heap before HDF5 does.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import h5py

from sctab.errors import DataFileError
from sctab.io._claims import claim_problem

_SIGNATURE = b"GCOL\x01\x00\x00\x00"
_N_ROWS = 65_536
"""Rows of an array that are read at a time."""


class SoundHeaps:
    """A file for :class:`h5py.File` to read, in which a heap without end reads as zeros, which HDF5 refuses.

    Parameters
    ----------
    raw
        An unbuffered or buffered binary file.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.width = 8
        """Bytes of a size, as the file's superblock says."""
        self.has_endless = False
        """Return whether a heap without end was met."""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current position, and return how many bytes were read."""
        start = self._raw.tell()
        n_read = self._raw.readinto(buffer)
        view = memoryview(buffer).cast("B")
        if view[: len(_SIGNATURE)] == _SIGNATURE and self._is_endless(start):
            self.has_endless = True
            view[:] = bytes(len(view))
        return int(n_read)

    def _is_endless(self, start: int) -> bool:
        self._raw.seek(start)
        head = self._raw.read(8 + self.width)
        size = int.from_bytes(head[8:], "little")
        return is_endless(head + self._raw.read(max(0, min(size, self._size()) - len(head))), self.width)

    def _size(self) -> int:
        at = self._raw.tell()
        size = int(self._raw.seek(0, os.SEEK_END))
        self._raw.seek(at)
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def is_endless(heap: bytes, width: int = 8) -> bool:
    """Return whether HDF5 would step through a heap forever: an object takes no space, or so much that its end is before its start.

    A heap is a header and objects, each with an index and a size (HDF5 File Format Specification, III.E).

    Parameters
    ----------
    heap
        All its bytes.
    width
        Bytes of a size in this file.
    """
    header = -(-(8 + width) // 8) * 8
    at = header
    while at + header <= len(heap):
        size = int.from_bytes(heap[at + 8 : at + 8 + width], "little")
        is_free = heap[at : at + 2] == b"\x00\x00"
        step = (size if is_free else header + -(-size // 8) * 8) % 2**64
        if step == 0 or step >= 2**63:
            return True
        at += step
    return False


def require_sound_heaps(path: str | os.PathLike[str], *, read: Collection[str] | None = None) -> None:
    """Refuse a local HDF5 file with strings that HDF5 would read forever. Any other damage is left to those who read it.

    Parameters
    ----------
    path
        The file.
    read
        Names in the root of what is read; by default everything.

    Raises
    ------
    DataFileError
        If a heap never ends.
    """
    with open(path, "rb", buffering=0) as raw:  # noqa: PTH123 (unbuffered)
        heaps = SoundHeaps(raw)
        with suppress(Exception), h5py.File(heaps, mode="r") as root:
            heaps.width = root.id.get_create_plist().get_sizes()[1]
            _read_attributes(root)
            for name in root if read is None else read:
                with suppress(Exception):
                    _read_strings(root[name])
    if heaps.has_endless:
        raise DataFileError(
            f"`{os.fspath(path)}` has damaged text: HDF5 would read it forever. The file is incomplete or damaged; copy or export it again."
        )


def _read_strings(elem: Any) -> None:
    """Read what lies in heaps, and forget it."""
    _read_attributes(elem)
    if isinstance(elem, h5py.Group):
        elem.visititems(lambda _, member: _read_strings(member) if isinstance(member, h5py.Dataset) else _read_attributes(member))
    elif elem.dtype.hasobject and not claim_problem(elem):  # others are refused where they are read
        with suppress(Exception):
            for start in range(0, elem.shape[0], _N_ROWS) if elem.shape else ():
                elem[start : start + _N_ROWS]
            if not elem.shape:
                elem[()]


def _read_attributes(elem: Any) -> None:
    with suppress(Exception):
        for name in elem.attrs:
            with suppress(Exception):
                elem.attrs[name]
