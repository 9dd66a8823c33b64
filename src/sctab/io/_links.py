"""Data files hold their data themselves: a link in one may lead to any file of this machine, to read it or to write to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py

from sctab.errors import DataFileError

_DEEPEST = 100
_RESULTS = ("/obs", "/obsm", "/uns")
_REWRITE = "Copy the data into one file, `anndata.{read}(path).{write}(new_path)`, if you trust it."
_REMOVE = (
    "Delete the link with h5py, or export the file again. A link in `uns` matters for copies only, and not for tables of labels."
)


def require_plain(path: Path) -> None:
    """Refuse a pipe, a socket or a device, which would be waited for.

    Raises
    ------
    DataFileError
        If it is there and is neither a file nor a directory.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataFileError(f"`{path}` is a pipe, a socket or a device. Provide a file.")


def check_hdf5(file: h5py.File, path: str, *, read: Collection[str] | None = None) -> bool:
    """Refuse an HDF5 file with data that is elsewhere, and say whether it has links within itself.

    Parameters
    ----------
    file
        The opened file.
    path
        Its name in messages.
    read
        Names in the root of what is read: soft links that lead to nothing are refused only there. By default that is everything.

    Returns
    -------
    Whether there are soft links. Each leads to something in the same file, or to nothing where it is not read.

    Raises
    ------
    DataFileError
        If there is a link to another file, an array in other files (external storage or a virtual dataset), a soft link that leads to
        nothing, a group that contains itself, or a slot for results that is another group too.
    """
    return _Links(file, path, read).check()


class _Links:
    """Visits every object of a file once."""

    def __init__(self, file: h5py.File, path: str, read: Collection[str] | None) -> None:
        self._file, self._path, self._read = file, path, read
        self._file_number = h5py.h5o.get_info(file.id).fileno
        self._seen: dict[int, str] = {}
        self._has_soft_links = False

    def check(self) -> bool:
        self._visit(self._file["/"], "", ())
        return self._has_soft_links

    def _visit(self, group: h5py.Group, where: str, around: tuple[int, ...]) -> None:
        address = h5py.h5o.get_info(group.id).addr
        if address in around or len(around) > _DEEPEST:
            raise self._refusal(where, "leads back to a group that it lies in")
        before = self._seen.setdefault(address, where)
        if before != where:
            if shared := {before, where} & set(_RESULTS):
                slot = min(shared)
                raise self._refusal(slot, f"is the same group as `{before if slot == where else where}`")
            return
        for name in group:
            self._follow(group, name, f"{where}/{name}", (*around, address))

    def _follow(self, group: h5py.Group, name: str, where: str, around: tuple[int, ...]) -> None:
        try:
            link = group.get(name, getlink=True)
        except TypeError as error:
            raise self._refusal(where, "is a link of an unknown kind") from error
        if isinstance(link, h5py.ExternalLink):
            raise self._refusal(where, f"is a link to another file, `{link.filename}`")
        if isinstance(link, h5py.SoftLink):
            self._has_soft_links = True
            try:
                found = group[name]
            except (KeyError, OSError) as error:
                if self._read is not None and where.split("/")[1] not in self._read:
                    return
                raise self._refusal(where, f"is a link to `{link.path}`, which is not in the file", _REMOVE) from error
            if h5py.h5o.get_info(found.id).fileno != self._file_number:
                raise self._refusal(where, f"is a link to `{link.path}`, which leads to another file")
        else:
            found = group[name]
        if isinstance(found, h5py.Group):
            self._visit(found, where, around)
        elif isinstance(found, h5py.Dataset):
            self._check_array(found, where)

    def _check_array(self, array: h5py.Dataset, where: str) -> None:
        settings = array.id.get_create_plist()
        if settings.get_external_count():
            raise self._refusal(
                where, f"is an array whose values are in another file, `{os.fsdecode(settings.get_external(0)[0])}`"
            )
        if settings.get_layout() == h5py.h5d.VIRTUAL:
            elsewhere = [source.file_name for source in array.virtual_sources() if source.file_name != "."]
            if elsewhere:
                raise self._refusal(where, f"is a virtual array of values in other files, such as `{elsewhere[0]}`")

    def _refusal(self, where: str, what: str, fix: str = _REWRITE.format(read="read_h5ad", write="write_h5ad")) -> DataFileError:
        return DataFileError(f"`{self._path}`: `{where.lstrip('/')}` {what}. A data file must contain its data. {fix}")


def check_store(directory: str | os.PathLike[str], fix: str = "") -> dict[str, tuple[int, ...]]:
    """Refuse a Zarr store on this machine with parts that are elsewhere, and give the state of each of its files.

    Parameters
    ----------
    directory
        The store.
    fix
        What to do about it, as a sentence; by default rewriting it with anndata.

    Returns
    -------
    :func:`state_of` each file, by path.

    Raises
    ------
    DataFileError
        If something in it is a symbolic link, or neither a file nor a directory.
    """
    states: dict[str, tuple[int, ...]] = {}
    waiting = [os.fspath(directory)]
    while waiting:
        for entry in list(os.scandir(waiting.pop())):
            found: Any = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                waiting.append(entry.path)
            elif stat.S_ISREG(found.st_mode):
                states[entry.path] = state_of(found)
            else:
                what = (
                    f"a link to `{Path(entry.path).readlink()}`" if stat.S_ISLNK(found.st_mode) else "a pipe, a socket or a device"
                )
                fix = fix or _REWRITE.format(read="read_zarr", write="write_zarr")
                raise DataFileError(
                    f"`{os.fspath(directory)}`: `{os.path.relpath(entry.path, directory)}` is {what}. A store must contain "
                    f"its data. {fix}"
                )
    return states


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """State of a file on this machine, to compare with an earlier one by :func:`is_same_state`."""
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_nlink,
    )


def is_same_state(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    """Return whether a file has the content that it had.

    The time of its last change of any kind tells also where the time of the last write was reset. It changes as well where permissions or
    the number of names do, which is no matter.
    """
    return before[:4] == now[:4] and (before[4] == now[4] or before[5:] != now[5:])
