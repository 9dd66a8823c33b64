"""A table of labels and the terms above them."""

from __future__ import annotations

from os import PathLike

from sctab.errors import DataFileError, LabelError, listing
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
    if len(header) < 2:
        raise DataFileError(f"`{path}` has {len(header)} column. Provide a table with the columns `child` and `parent`.")
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
            raise LabelError(f"`{path}` gives `{child}` two parents: {listing([parents[child], parent])}. Remove one of the rows.")
    return parents
