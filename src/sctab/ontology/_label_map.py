"""Tables of labels and their Cell Ontology ids."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from os import PathLike, fspath
from pathlib import Path

from sctab.errors import DataFileError, LabelError, listing, warn
from sctab.io import as_path
from sctab.ontology._labels import confirmed_ids
from sctab.ontology._ontology import CellOntology

_LARGEST = 64 * 1024 * 1024
"""Bytes of a file of labels."""
_TAKEN = frozenset({"exactmatch", "broadmatch", "equivalentclass", "sameas", "subclassof"})
"""Relations of SSSOM under which a label may have the id: it is the term, or a kind of it."""
_NO_TERM = frozenset({"", "sssom:notermfound", "none", "na", "nan", "unknown"})
_LABEL_COLUMNS = ("subject_label", "label", "cell_type", "author_label", "name", "subject_id")
_ID_COLUMNS = ("object_id", "id", "label_id", "term", "cell_type_ontology_term_id", "ontology_id", "cl_id")


def label_ids_from(given: Mapping[str, str | None] | str | PathLike[str], ontology: CellOntology) -> dict[str, str | None]:
    """Ids by label, from a mapping or a file, as the ontology has them today.

    Raises
    ------
    DataFileError, LabelError
        See :func:`read_label_map`.
    """
    if isinstance(given, Mapping):
        return confirmed_ids(given, ontology)
    return read_label_map(given, ontology)


def read_label_map(path: str | PathLike[str], ontology: CellOntology | None = None) -> dict[str, str | None]:
    r"""Cell Ontology ids by label, from a table.

    The table is separated by tabs or commas. Its columns are label and id, in this order or under these names; an empty id says that the
    label has none. A column `name` or `object_label` with names of terms is compared with the ontology. SSSOM files are understood: lines
    that begin with `#` are left out, labels are `subject_label` (or `subject_id`) and ids `object_id`. Of their relations `exactMatch`,
    `broadMatch` (the label is a kind of the term) and their equals in OWL are taken; others, such as `closeMatch` and `narrowMatch`, and
    negated ones are left out with a warning.

    Parameters
    ----------
    path
        The file.
    ontology
        The Cell Ontology; by default the newest embedded release.

    Returns
    -------
    Ids by label, `None` for a label without one. Obsolete ids give way to their replacements.

    Raises
    ------
    DataFileError
        If the file cannot be read or has no columns of labels and ids.
    LabelError
        If a label has two ids, or an id is not in the ontology.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.tsv")
    ...     _ = path.write_text("label\tid\nDC2\tCL:0002399\ncluster 7\t\n")
    ...     read_label_map(path)
    {'DC2': 'CL:0002399', 'cluster 7': None}
    """
    path = as_path(path)
    ontology = ontology or CellOntology.embedded()
    rows, header = read_rows(path)
    label_at, id_at, name_at = _columns(header, rows, path)
    ids: dict[str, str | None] = {}
    conflicts, left_out, misnamed = [], [], []
    predicate_at, modifier_at = (header.index(name) if name in header else None for name in ("predicate_id", "predicate_modifier"))
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        label, term = row[label_at] if label_at < len(row) else "", cells[id_at]
        if not label and not term:
            continue
        relation = cells[predicate_at].rpartition(":")[2].rpartition("/")[2].lower() if predicate_at is not None else ""
        if (relation and relation not in _TAKEN) or (modifier_at is not None and cells[modifier_at].lower() == "not"):
            left_out.append(label)
            continue
        found = None if term.lower() in _NO_TERM else term
        if label in ids and ids[label] != found:
            conflicts.append(label)
        ids[label] = found
        current = confirmed_ids({label: found}, ontology)[label] if name_at is not None else None
        if current and cells[name_at or 0] and cells[name_at or 0].lower() != str(ontology.name(current)).lower():
            misnamed.append(f"{label}: {cells[name_at or 0]} is not {current}, {ontology.name(current)}")
    if conflicts:
        raise LabelError(f"`{path}` gives {listing(dict.fromkeys(conflicts))} more than one id. Leave one row for each label.")
    if left_out:
        warn(
            f"{len(left_out)} rows of `{path}` are left out, since they are negated or say neither `exactMatch` nor `broadMatch`: "
            f"{listing(dict.fromkeys(left_out))}."
        )
    if misnamed:
        warn(f"In `{path}`, {listing(misnamed)}. The ids were taken. Check them.")
    if not ids:
        raise DataFileError(f"`{path}` has no label. Provide a table with a label and a Cell Ontology id in each row.")
    return confirmed_ids(ids, ontology)


def unused(label_ids: Mapping[str, str | None], labels: Collection[str], where: str) -> str:
    """A sentence on labels that have an id and are not in the data; `""` where there are none."""
    absent = [label for label in label_ids if label not in labels]
    if not absent:
        return ""
    return f"{len(absent)} of {len(label_ids)} labels of the label map are not in {where}: {listing(absent)}."


def read_rows(path: Path) -> tuple[list[list[str]], list[str]]:
    """Rows of a table, and its header in lower case; `[]` where the first row has an id already."""
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise DataFileError(f"`{path}` is not a file of labels. Provide a table with a label and a Cell Ontology id in each row.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(f"`{path}` is not text in UTF-8. Save it as a table with tabs or commas.") from error
    except OSError as error:
        raise DataFileError(f"`{path}` cannot be read: {error.strerror}. Check the path.") from error
    lines = text.splitlines(keepends=True)
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        lines.pop(0)
    delimiter = "\t" if lines and "\t" in lines[0] else ";" if lines and "," not in lines[0] and ";" in lines[0] else ","
    try:
        rows = [row for row in csv.reader(io.StringIO("".join(lines)), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataFileError(f"`{path}` cannot be read as a table: {error}.") from error
    if rows and not any(_is_id(cell) for cell in rows[0]):
        return rows[1:], [cell.strip().lower() for cell in rows[0]]
    return rows, []


def _is_id(cell: str) -> bool:
    return cell.strip().upper().replace("_", ":").rpartition("/")[2].startswith("CL:")


def _columns(header: list[str], rows: list[list[str]], path: Path) -> tuple[int, int, int | None]:
    """Positions of labels, ids and names of terms."""
    width = max([len(header), *map(len, rows)], default=0)
    if width < 2:
        raise DataFileError(f"`{path}` has fewer than two columns. Provide a label and a Cell Ontology id in each row.")
    label_at = next((header.index(name) for name in _LABEL_COLUMNS if name in header), 0)
    id_at = next((header.index(name) for name in _ID_COLUMNS if name in header), 1)
    if label_at == id_at:
        raise DataFileError(f"`{fspath(path)}` has no columns `label` and `id`, but {listing(header)}. Name them so.")
    name_at = next(
        (header.index(name) for name in ("object_label", "name") if name in header and header.index(name) != label_at), None
    )
    return label_at, id_at, name_at
