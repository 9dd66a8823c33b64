"""Errors for unsupported file formats and missing filters, with fixes."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import h5py

from sctab.errors import DataFileError, listing
from sctab.io._scdeepcluster import is_scdeepcluster
from sctab.io._urls import base_name, is_url, suffix_of, without_credentials

Kind = Literal["anndata", "mudata", "10x", "loom", "market", "scdeepcluster"]
"""Kinds of content of a file, a Zarr store or a folder."""
SUFFIXES = (".h5ad", ".zarr", ".h5mu", ".loom", ".h5", ".hdf5")
_SUFFIXES_OF: dict[Kind, tuple[str, ...]] = {
    "anndata": (".h5ad", ".zarr", ".h5", ".hdf5"),
    "mudata": (".h5mu", ".zarr", ".h5", ".hdf5"),
    "10x": (".h5", ".hdf5"),
    "loom": (".loom", ".h5", ".hdf5"),
    "scdeepcluster": (".h5", ".hdf5"),
}
_CALLED: dict[Kind, str] = {"anndata": "an AnnData", "mudata": "a MuData", "10x": "a matrix of 10x Genomics", "loom": "a Loom file"}
FORMATS = "`.h5ad`, `.zarr`, `.h5mu`, `.loom`, the `.h5` and `.mtx` of 10x Genomics"
"""All formats that are read, in messages."""
_UNPACK = "Unpack it and use its content."
_AS_H5AD = "write it as `.h5ad`: "
_WRITE = ".write_h5ad(new_path)`"
_BY_NAME = (
    (r"\.(h5ad|h5|loom|h5mu)\.(gz|bz2|xz|zst)", "is compressed as a whole", "Unpack it first, for example with `gunzip`."),
    (r"\.(zip|tar|tgz|tbz2?|tar\.(gz|bz2|xz|zst)|7z|rar)", "is an archive", _UNPACK),
    (
        r"\.(rda|rdata)",
        "is an R file",
        "Convert it in R: `load({path}); anndataR::write_h5ad(object, {new})`, with the name of the object.",
    ),
    (r"\.qs2?", "is an R file", "Convert it in R: `anndataR::write_h5ad(qs::qread({path}), {new})`."),
    (r"\.rds", "is an R file", "Convert it in R: `anndataR::write_h5ad(readRDS({path}), {new})`."),
    (r"\.h5seurat", "is a SeuratDisk file", 'Convert it in R: `SeuratDisk::Convert({path}, dest = "h5ad")`.'),
    (
        r"\.mtx(\.gz)?",
        "is a Matrix Market file",
        "Provide it on this machine, in its folder with the names of genes and barcodes.",
    ),
    (
        r"\.(csv|tsv|txt|tab)(\.gz)?",
        "is a text table",
        f"If its rows are genes, {_AS_H5AD}`anndata.io.read_csv({{path}}).T.write_h5ad({{new}})`; if its rows are cells, without `.T`.",
    ),
    (r"\.xlsx?", "is a spreadsheet", f"Read it with pandas and {_AS_H5AD}`anndata.AnnData(table){_WRITE}."),
    (r"\.(parquet|feather|arrow)", "is a table", f"Read it with pandas and {_AS_H5AD}`anndata.AnnData(table){_WRITE}."),
    (
        r"\.(soma|tiledb|tdb)",
        "is a TileDB store",
        f"Export it and {_AS_H5AD}`tiledbsoma.io.to_anndata(…){_WRITE}; corpora read SOMA experiments as they are.",
    ),
    (
        r"\.(pkl|pickle|joblib|pt)",
        "is a pickle, which may run code",
        f"Open it only if you trust it, and {_AS_H5AD}`adata{_WRITE}.",
    ),
)
"""Endings of other formats, what they are, and what to do."""
_BY_CONTENT = (
    (rb"version https://git-lfs", "is a Git LFS pointer and not the file itself", "Fetch the file with `git lfs pull`."),
    (
        rb"\s*(?i:<!doctype html|<html|<head)",
        "is a web page, perhaps of an error or a login",
        "Download the file again, and check the link.",
    ),
    (rb"\s*<\?xml|\s*<Error", "is an XML document, perhaps an error of the server", "Download the file again, and check the link."),
    (rb"\x1f\x8b", "is compressed with gzip as a whole", "Unpack it first: `gunzip` needs a name that ends in `.gz`."),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "is compressed as a whole", "Unpack it first."),
    (rb"PK\x03\x04|PK\x05\x06", "is a ZIP archive", _UNPACK),
    (rb"%%MatrixMarket", "is a Matrix Market file without names", _BY_NAME[6][2]),
    (rb"RD[AX][23]\n|X\n\0\0\0|A\n[23]\n", "is an R file", _BY_NAME[4][2]),
    (rb"PAR1", "is a Parquet table", _BY_NAME[9][2]),
    (rb"SQLite format 3", "is an SQLite database", "Provide a `.h5ad` or `.zarr`."),
    (rb"\x80[\x02-\x05]", "is a pickle, which may run code", _BY_NAME[11][2]),
    (rb"MATLAB 5", "is a MATLAB file", f"Read it with `scipy.io.loadmat` and {_AS_H5AD}`anndata.AnnData(matrix){_WRITE}."),
    (rb"\s*[\[{]\s*[\"\]}]", "is JSON, perhaps an error of the server", "Download the file again, and check the link."),
)
"""First bytes of other formats."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FILTERS = {4: "szip", 307: "bzip2", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2"}
"""Registered numbers of HDF5 filters that are met, for files that do not name them."""
_TABLES = {"obs", "var"}


def require_known_name(path: str) -> None:
    """Refuse a path or URL by its suffix, naming the format that it belongs to.

    Raises
    ------
    DataFileError
        If it ends like no format that is read.
    """
    if suffix_of(path) in SUFFIXES:
        return
    called = f"`{without_credentials(path)}`"
    for pattern, what, fix in _BY_NAME:
        if re.search(pattern + "$", base_name(path), re.IGNORECASE):
            raise DataFileError(f"{called} {what}, and none of the formats that are read. {_filled(fix, path)}")
    raise DataFileError(f"{called} is in none of the formats that are read: {FORMATS}. Provide one of these.")


def _filled(fix: str, path: str) -> str:
    """A fix with the name of the file, and one for the file that is written, where it has code for these."""
    name = without_credentials(path)
    new = re.sub(r"(\.[A-Za-z0-9]+)(\.gz)?$", "", name) + ".h5ad"
    return fix.replace("{path}", json.dumps(name, ensure_ascii=False)).replace("{new}", json.dumps(new, ensure_ascii=False))


def require_known_content(path: str) -> None:
    """Refuse a local path that cannot be what its suffix says, by its first bytes or what is in the directory.

    Raises
    ------
    DataFileError
        If it is another format, empty, or of the other kind.
    """
    place, suffix = Path(path), suffix_of(path)
    if place.is_dir():
        names = {entry.name for entry in place.iterdir()}
        if suffix != ".zarr":
            is_zarr = names & {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}
            fix = "It holds a Zarr store: rename it to `.zarr`." if is_zarr else "Provide the file."
            raise DataFileError(f"`{path}` is a directory, and `{suffix}` is a file. {fix}")
        if names & {"zarr.json", ".zgroup"}:
            return
        if any(name.startswith("__") and name.endswith(("group", "schema", "fragments", ".tdb")) for name in names):
            raise DataFileError(f"`{path}` {_BY_NAME[10][1]} and no Zarr store. {_BY_NAME[10][2]}")
        if any(name.startswith("matrix.mtx") for name in names):
            raise DataFileError(f"`{path}` is a 10x Genomics directory and not a Zarr store. Rename it, without `.zarr`.")
        has = f"It holds {listing(sorted(names), most=5)}" if names else "It is empty"
        raise DataFileError(
            f"`{path}` has no `zarr.json` or `.zgroup`, which every Zarr store has. {has}; copy the complete store again."
        )
    with place.open("rb") as file:
        start = file.read(512)
    if not start:
        raise DataFileError(f"`{path}` is empty: it has 0 bytes. Copy or export it again.")
    for pattern, what, fix in _BY_CONTENT:
        if re.match(pattern, start):
            raise DataFileError(f"`{path}` {what}, despite its suffix. {_filled(fix, path)}")
    if suffix == ".zarr":
        what = (
            "is an HDF5 file: rename it to `.h5ad`"
            if start.startswith(_HDF5)
            else "is a file, and a Zarr store is a directory. Copy the store again"
        )
        raise DataFileError(f"`{path}` {what}.")


def kind_of_content(root: Any, path: str) -> Kind:
    """Kind of an opened HDF5 file or Zarr store.

    Raises
    ------
    DataFileError
        If it is another format, or one that its suffix does not announce.
    """
    names = set(root)
    called = f"`{without_credentials(path)}`"
    kind: Kind
    if "mod" in names and hasattr(root["mod"], "keys"):
        kind = "mudata"
        if not len(root["mod"]):
            raise DataFileError(f"{called} is a MuData without modalities. Export it again.")
    elif names >= _TABLES:
        kind = "anndata"
    elif "tables" in names and names & {"images", "labels", "points", "shapes", "tables"} and not _TABLES & names:
        tables = sorted(root["tables"])
        raise DataFileError(
            f"{called} is SpatialData with the tables {listing(tables)}. Take one and {_AS_H5AD}"
            f"`anndata.read_zarr(path + '/tables/{tables[0] if tables else 'table'}'){_WRITE}."
        )
    elif {"row_attrs", "col_attrs"} <= names:
        kind = "loom"
    elif {"assays", "cell.names"} <= names or {"assays", "meta.data"} <= names:
        raise DataFileError(f"{called} {_BY_NAME[5][1]}, despite its suffix. {_filled(_BY_NAME[5][2], path)}")
    elif any({"barcodes", "indptr"} <= set(_members(root, name)) for name in names):
        kind = "10x"
    elif "barcode_idx" in names:
        raise DataFileError(
            f"{called} is the molecule information of a Cell Ranger run, and holds no matrix. Provide "
            "`filtered_feature_bc_matrix.h5` of the same run."
        )
    elif suffix_of(path) in _SUFFIXES_OF["scdeepcluster"] and is_scdeepcluster(root):
        kind = "scdeepcluster"
    elif not _TABLES & names:
        raise DataFileError(
            f"{called} is not an AnnData: it has neither `obs` nor `var`, but {listing(sorted(names), most=5)}. Provide a "
            "file that anndata wrote, or export it again."
        )
    else:
        kind = "anndata"  # of which a table is missing
    if suffix_of(path) not in _SUFFIXES_OF[kind]:
        raise DataFileError(f"{called} is {_CALLED[kind]}, despite its suffix. Rename it to `{_SUFFIXES_OF[kind][0]}`.")
    return kind


def require_filters(root: Any, path: str) -> None:
    """Refuse an HDF5 file of which something is compressed with what HDF5 does not have here; `hdf5plugin` is used where it is installed.

    Raises
    ------
    DataFileError
        If a filter is missing. The message names it, and what to install.
    """
    parts = [root] if not is_url(path) else [root[name] for name in ("X", "obs") if name in root]
    missing = {code: name for part in parts for code, name in _missing_filters(part)}
    if missing:
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")
    for code, name in sorted(missing.items()):
        if not h5py.h5z.filter_avail(code):
            raise DataFileError(
                f"`{without_credentials(path)}` is compressed with the HDF5 filter `{name}` (number {code}), which is not installed here. "
                "Install it with `pip install hdf5plugin`, or write the file again with `compression='gzip'`."
            )


def codec_problem(error: BaseException) -> str | None:
    """Codec that an error of Zarr is about, as the end of a sentence; `None` for other errors."""
    if type(error).__name__ == "UnknownCodecError":
        found = re.search(r"codec '([^']+)'|not available: '([^']+)'", str(error))
        name = (found[1] or found[2]) if found else "of an unknown name"
        return (
            f"is compressed with the codec `{name}`, which is not installed here. Install the package that has it, or write the store "
            "again with the compression of Zarr"
        )
    if type(error).__name__ == "PickleCodecDisabledError" or "'object_codec_id': 'pickle'" in str(error):
        return "holds pickled objects, which may run code and are not read. Write the store again with anndata"
    return None


def truncation(error: BaseException) -> str | None:
    """Truncation that an error of HDF5 is about, as the end of a sentence; `None` for other errors."""
    found = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
    return f"is incomplete: it has {int(found[1]):,} of {int(found[2]):,} bytes. Copy it again" if found else None


def _missing_filters(elem: Any) -> Iterator[tuple[int, str]]:
    if isinstance(elem, h5py.Dataset):
        settings = elem.id.get_create_plist()
        for number in range(settings.get_nfilters()):
            code, _, _, name = settings.get_filter(number)
            if not h5py.h5z.filter_avail(code):
                yield code, _FILTERS.get(code) or name.decode(errors="replace").split(";")[0] or "of an unknown name"
    elif isinstance(elem, h5py.Group):
        found: list[tuple[int, str]] = []
        elem.visititems(lambda _, part: found.extend(_missing_filters(part)) if isinstance(part, h5py.Dataset) else None)
        yield from found


def _members(root: Any, name: str) -> list[str]:
    with suppress(KeyError, OSError):  # a dangling link
        return list(root[name]) if hasattr(root[name], "keys") else []
    return []
