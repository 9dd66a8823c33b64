"""A table of labels and the terms above them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from os import PathLike

import pandas as pd

from sctab.errors import DataFileError, InputTypeError, LabelError, Parameter, listing
from sctab.io import as_path
from sctab.ontology._label_map import read_rows

_CHILDREN, _PARENTS = ("child", "label", "cell_type", "name", "subject_label"), ("parent", "parent_label", "term", "object_label")


def read_hierarchy(path: str | PathLike[str]) -> dict[str, str]:
    r"""Parent of each label and of each other parent, from a table.

    The table is separated by tabs or commas and has a header. Its columns are `child` and `parent`, or the first two. Lines that begin
    with `#` and rows without a parent are left out.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataFileError
        If the file cannot be read, or has no two columns.
    LabelError
        If a child has two parents.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "hierarchy.tsv")
    ...     _ = path.write_text("child\tparent\nneuron 1\tneuron\nneuron 2\tneuron\nneuron\tbrain cell\n")
    ...     read_hierarchy(path)
    {'neuron 1': 'neuron', 'neuron 2': 'neuron', 'neuron': 'brain cell'}
    """
    rows, header = read_rows(as_path(path))
    return _parents(rows, header, f"`{path}`")


def as_hierarchy(hierarchy: object) -> Mapping[str, str | Collection[str]]:
    """Parents of labels, or labels of each term, in whatever form they are given.

    Parameters
    ----------
    hierarchy
        A mapping of each label to its parent, or of each term to its labels; a table with a row per child, or a file with such a table,
        as :func:`read_hierarchy` reads it.

    Raises
    ------
    InputTypeError
        If it is nothing of these.
    DataFileError, LabelError
        As in :func:`read_hierarchy`.
    """
    if isinstance(hierarchy, str | PathLike):
        return read_hierarchy(hierarchy)
    if isinstance(hierarchy, pd.DataFrame):
        cells = hierarchy.astype(object).where(hierarchy.notna(), "").astype(str)
        return _parents(cells.to_numpy(), [str(name) for name in cells.columns], str(Parameter("label_hierarchy")))
    if not isinstance(hierarchy, Mapping):
        raise InputTypeError(
            Parameter("label_hierarchy"),
            f" is a {type(hierarchy).__name__}. Give a mapping of labels to parents, or a table or file with the columns `child` and "
            "`parent`.",
        )
    for name, above in hierarchy.items():
        of_strings = isinstance(above, Collection) and all(isinstance(each, str) for each in above)
        if not isinstance(name, str) or not of_strings:
            raise InputTypeError(
                Parameter("label_hierarchy"),
                f" has {above!r} for {name!r}. Give the name of its parent, or a collection of labels; leave out labels without a parent.",
            )
    return hierarchy


def _parents(rows: Iterable[Sequence[str]], header: Sequence[str], where: str) -> dict[str, str]:
    if len(header) < 2:
        raise DataFileError(f"{where} has {len(header)} column. Provide a table with the columns `child` and `parent`.")
    child_at, parent_at = (
        next((header.index(name) for name in names if name in header), position)
        for position, names in enumerate((_CHILDREN, _PARENTS))
    )
    parents: dict[str, str] = {}
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        child, parent = cells[child_at], cells[parent_at]
        if not child or not parent:
            continue
        if parents.setdefault(child, parent) != parent:
            raise LabelError(f"{where} gives `{child}` two parents: {listing([parents[child], parent])}. Remove one of the rows.")
    return parents
