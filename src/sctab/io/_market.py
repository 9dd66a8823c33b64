"""Folders with a Matrix Market file, names of features and barcodes: of Cell Ranger, STARsolo, alevin-fry, and kallisto | bustools."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import DataFileError, listing
from sctab.io._layout import CellColumns, Layout
from sctab.io._links import require_plain
from sctab.io._pieces import RowPieces
from sctab.io._tables import quietly

_TEXT_AT_A_TIME = 2**24
"""Bytes of text that are parsed at a time: about a million values."""
_LONGEST_HEADER = 2**20
_BYTES_OF_VALUE = 12
"""Bytes that a value takes in the temporary file."""
_BYTES_OF_ENTRY = 5
"""Bytes that a value takes in the file at least: `1 1 1`."""
_MOST_PER_BYTE = 1_032
"""Largest ratio of bytes before to those after deflate."""
_MOST_NAMES = 100_000_000
"""Bytes of a table of features, which is read whole."""
_SETS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...] = (
    ("matrix.mtx", ("features.tsv", "genes.tsv"), ("barcodes.tsv",), False),
    ("quants_mat.mtx", ("quants_mat_cols.txt",), ("quants_mat_rows.txt",), True),
    ("cells_x_genes.mtx", ("cells_x_genes.genes.txt",), ("cells_x_genes.barcodes.txt",), True),
)
"""Names of a matrix, of its features, of its barcodes, and whether it has cells in rows."""


@dataclass(frozen=True)
class MarketFiles:
    """The three files of a matrix."""

    path: str
    """Folder or file that the user named."""
    matrix: Path
    features: Path
    barcodes: Path
    has_cells_in_rows: bool

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return self.matrix, self.features, self.barcodes


def matrices_in(folder: Path) -> list[Path]:
    """Matrix Market files in a folder that are named as those of cells are, in alphabetical order."""
    return sorted(entry for entry in folder.iterdir() if _known(entry.name) is not None and entry.is_file())


def is_market(path: str) -> bool:
    """Return whether a path is a Matrix Market file, or a folder with one."""
    place = Path(path)
    return _plain_name(place.name).lower().endswith(".mtx") if not place.is_dir() else bool(matrices_in(place))


def market_files(path: str) -> MarketFiles | None:
    """The files of a matrix, from a folder or from the path of the matrix; `None` for anything else.

    Raises
    ------
    DataFileError
        If there are several matrices, or if names of features or barcodes are missing.
    """
    place = Path(path)
    if "://" in path or not place.exists() or place.suffix.lower() == ".zarr" or not is_market(path):
        return None
    found = matrices_in(place) if place.is_dir() else [place]
    if len(found) > 1:
        raise DataFileError(
            f"`{path}` holds several matrices: {listing(file.name for file in found)}. Provide the path of one of them."
        )
    known = _known(found[0].name)
    if known is None:
        raise DataFileError(
            f"`{path}` is a Matrix Market file without names of genes and cells. Call it `matrix.mtx`, with `features.tsv` and "
            "`barcodes.tsv` beside it, as Cell Ranger does."
        )
    prefix, (_, features, barcodes, has_cells_in_rows) = known
    names = [_beside(found[0], prefix, options) for options in (features, barcodes)]
    for name, options, what in zip(names, (features, barcodes), ("features", "barcodes"), strict=True):
        if name is None:
            raise DataFileError(
                f"`{found[0]}` needs the names of its {what} beside it, in {listing(f'{prefix}{option}' for option in options)}, plain or "
                "compressed with gzip. Copy the whole folder."
            )
    for file in (found[0], *names):
        require_plain(Path(str(file)))
    return MarketFiles(path, found[0], Path(str(names[0])), Path(str(names[1])), has_cells_in_rows)


def _plain_name(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name


def _known(name: str) -> tuple[str, tuple[str, tuple[str, ...], tuple[str, ...], bool]] | None:
    """Prefix of the name of a matrix, as in `GSM1_matrix.mtx.gz`, and the names that belong to it."""
    plain = _plain_name(name)
    for names in _SETS:
        if plain.endswith(names[0]) and (plain == names[0] or plain[-len(names[0]) - 1] in "_.-"):
            return plain[: -len(names[0])], names
    return None


def _beside(matrix: Path, prefix: str, options: tuple[str, ...]) -> Path | None:
    places = (matrix.with_name(f"{prefix}{option}{end}") for option in options for end in ("", ".gz"))
    return next((place for place in places if place.exists()), None)


def read_market(files: MarketFiles) -> Layout:
    """Names of features and barcodes, and a matrix that is read when its first rows are.

    Raises
    ------
    DataFileError
        If a file is cut off, or if the numbers of names do not belong to the matrix.
    """
    var = _read_features(files.features)
    barcodes = _read_barcodes(files.barcodes)
    with _opened(files.matrix) as text:
        header = _Header.read(text, files.matrix)
    _require_plausible(header, files.matrix)
    row, column = ("barcodes", "features") if files.has_cells_in_rows else ("features", "barcodes")
    expected = (len(barcodes), len(var)) if files.has_cells_in_rows else (len(var), len(barcodes))
    is_swapped = header.shape != expected and header.shape == expected[::-1]
    if header.shape != expected and not is_swapped:
        raise DataFileError(
            f"`{files.matrix}` must have a row for each of the {expected[0]:,} {row} and a column for each of the {expected[1]:,} {column} "
            f"beside it, and has {header.shape[0]:,} rows and {header.shape[1]:,} columns. The files are of different matrices, or "
            "incomplete; copy them again."
        )
    has_cells_in_rows = files.has_cells_in_rows != is_swapped
    return Layout(CellColumns(barcodes), var, MarketRows(files.matrix, header, has_cells_in_rows=has_cells_in_rows))


class MarketRows:
    """Rows of a Matrix Market file, which is parsed once, when the first are read, into a temporary file."""

    is_dense = False
    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, header: _Header, *, has_cells_in_rows: bool) -> None:
        self._path, self._header, self._has_cells_in_rows = path, header, has_cells_in_rows
        self.shape = header.shape if has_cells_in_rows else header.shape[::-1]
        self._pieces: RowPieces | None = None

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        if self._pieces is None:
            self._pieces = self._parsed()
        return self._pieces[rows]

    def _parsed(self) -> RowPieces:
        needed, free = self._header.n_values * _BYTES_OF_VALUE, shutil.disk_usage(tempfile.gettempdir()).free
        if needed > free:
            raise DataFileError(
                f"`{self._path}` has {self._header.n_values:,} values, which take {needed / 1e9:.1f} GB of temporary space, and "
                f"`{tempfile.gettempdir()}` has {free / 1e9:.1f} GB. Set the environment variable `TMPDIR` to a directory with more."
            )
        pieces = RowPieces(self.shape, self.dtype)
        for rows, columns, values in _entries(self._path):
            pieces.add(*((rows, columns) if self._has_cells_in_rows else (columns, rows)), values)
        return pieces


@dataclass(frozen=True)
class _Header:
    """First lines of a Matrix Market file."""

    kind: str
    """`integer` or `real`."""
    shape: tuple[int, int]
    n_values: int

    @classmethod
    def read(cls, text: IO[bytes], path: Path) -> _Header:
        line = text.readline(_LONGEST_HEADER)
        words = line.decode("utf-8", "replace").lower().split()
        if len(words) != 5 or words[0] != "%%matrixmarket" or words[1] != "matrix":
            raise _damage(path, "must begin with `%%MatrixMarket matrix`, and does not")
        if words[2:] not in (["coordinate", "integer", "general"], ["coordinate", "real", "general"]):
            raise _damage(path, f"must be `coordinate`, `integer` or `real`, and `general`, and is `{' '.join(words[2:])}`")
        n_read = 0
        while (line := text.readline(_LONGEST_HEADER)) and n_read < _LONGEST_HEADER and (line.startswith(b"%") or not line.strip()):
            n_read += len(line)
        numbers = line.split()
        if len(numbers) != 3 or not all(re.fullmatch(rb"\d{1,15}", number) for number in numbers):
            found = line[:60].decode("utf-8", "replace").strip()
            raise _damage(path, f"must give the numbers of its rows, columns and values in a line, and has `{found}`")
        n_rows, n_columns, n_values = map(int, numbers)
        if n_rows >= 2**31 or n_columns >= 2**31 or n_values > n_rows * n_columns:
            raise _damage(path, f"cannot have {n_values:,} values in {n_rows:,} rows and {n_columns:,} columns")
        return cls(words[3], (n_rows, n_columns), n_values)


def _require_plausible(header: _Header, path: Path) -> None:
    """Refuse a header that promises more values than the file has room for, before space is sought for them.

    Raises
    ------
    DataFileError
        If it does.
    """
    size = path.stat().st_size
    with path.open("rb") as raw:
        is_compressed = raw.read(2) == b"\x1f\x8b"
    if header.n_values * _BYTES_OF_ENTRY > size * (_MOST_PER_BYTE if is_compressed else 1):
        raise _damage(path, f"cannot hold the {header.n_values:,} values that its header promises in {size:,} bytes")


def _entries(path: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Rows, columns and values, some at a time, from 0."""
    n_read = 0
    with _opened(path) as text:
        header = _Header.read(text, path)
        rest = b""
        while True:
            read = text.read(_TEXT_AT_A_TIME)
            rest += read
            end = rest.rfind(b"\n") + 1 if read else len(rest)
            portion, rest = rest[:end], rest[end:]
            if len(rest) > _LONGEST_HEADER:
                raise _damage(path, "must have a value in each line, and has a line without end")
            if portion.strip():
                rows, columns, values = _parsed(portion, header, path, n_read)
                n_read += len(values)
                if n_read > header.n_values:
                    raise _damage(path, f"must have {header.n_values:,} values, as its header says, and has more")
                yield rows, columns, values
            if not read:
                break
    if n_read != header.n_values:
        raise _damage(path, f"must have {header.n_values:,} values, as its header says, and has {n_read:,}")


def _parsed(portion: bytes, header: _Header, path: Path, before: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Entries of whole lines, parsed by SciPy, which also holds indices to the shape."""
    from scipy.io import mmread

    if b"\n\n" in portion or b"\n\r" in portion or b"\n " in portion or portion[:1].isspace():
        portion = b"\n".join(line for line in portion.splitlines() if line.strip()) + b"\n"
    n_lines = portion.count(b"\n") + (not portion.endswith(b"\n"))
    first = f"%%MatrixMarket matrix coordinate {header.kind} general\n{header.shape[0]} {header.shape[1]} {n_lines}\n"
    try:
        with quietly():  # SciPy will return an array by default, which has the same attributes
            found = mmread(io.BytesIO(first.encode() + portion))
    except (ValueError, OverflowError) as error:
        raise _damage(path, f"has an invalid value after the first {before:,}: {str(error).rstrip('.')}") from error
    if not np.isfinite(found.data).all():
        raise _damage(path, f"must hold finite values, and has one that is not after the first {before:,}")
    return found.row, found.col, found.data


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file, unpacked where it is compressed with gzip, as its first bytes say."""
    with path.open("rb") as raw:
        is_compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if is_compressed:
                with gzip.open(raw) as unpacked:
                    yield unpacked  # type: ignore[misc]
            else:
                yield raw
        except EOFError as error:
            raise _damage(path, "is cut off: its compressed text has no end") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise _damage(path, f"cannot be unpacked: {error}") from error


def _read_features(path: Path) -> pd.DataFrame:
    """Names in the index, and ids and types beside them, as `scanpy.read_10x_mtx` gives them."""
    with _opened(path) as text:
        content = text.read(_MOST_NAMES + 1)
    if len(content) > _MOST_NAMES:
        raise _damage(path, f"must have at most {_MOST_NAMES:,} bytes of names, and has more")
    table = _table(content, path)
    if table.shape[1] == 1:
        return _without_ambiguous(pd.DataFrame(index=pd.Index(table[0].to_numpy(), dtype=object)), path)
    columns = {name: table[column] for column, name in ((0, "gene_ids"), (2, "feature_types")) if column in table}
    return pd.DataFrame(columns).set_axis(pd.Index(table[1].to_numpy(), dtype=object))


def _table(content: bytes, path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(
            io.BytesIO(content), sep="\t", header=None, dtype=object, keep_default_na=False, na_filter=False, quoting=csv.QUOTE_NONE
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise _damage(path, f"must be a table with tabs, and cannot be read: {str(error).splitlines()[0].rstrip('.')}") from error


def _without_ambiguous(var: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Refuse spliced, unspliced and ambiguous counts in columns of their own, of which only the first would be used."""
    n_unspliced = sum(str(name).endswith("-U") for name in var.index)
    if len(var) % 3 == 0 and n_unspliced >= len(var) / 3 > 0:
        raise DataFileError(
            f"`{path}` names {len(var) // 3:,} genes three times, since alevin-fry counted spliced, unspliced and ambiguous molecules "
            "apart. Add them, and write them as `.h5ad`: `pyroe.load_fry(folder, output_format='scRNA').write_h5ad(new_path)`."
        )
    return var


def _read_barcodes(path: Path) -> Any:
    """Names of the cells, the first column: in one buffer, since all barcodes of a run are millions."""
    import pyarrow as pa

    parts, rest = [], b""
    with _opened(path) as text:
        while read := text.read(_TEXT_AT_A_TIME):
            lines = (rest + read).split(b"\n")
            rest = lines.pop()
            parts.append(pa.array(_names(lines), type=pa.large_string()))
    parts.append(pa.array(_names([rest] if rest.strip() else []), type=pa.large_string()))
    return _Names(pa.chunked_array(parts))


def _names(lines: list[bytes]) -> list[str]:
    return [line.split(b"\t", 1)[0].strip().decode("utf-8", "replace") for line in lines]


class _Names:
    """Names in a buffer, whose slices are lists."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, at: slice) -> list[str]:
        start, stop, _ = at.indices(len(self))
        return [str(name) for name in self._array.slice(start, max(0, stop - start)).to_pylist()]


def _damage(path: Path, problem: str) -> DataFileError:
    return DataFileError(f"`{path}` {problem}. The file is incomplete or damaged; copy or export it again.")
