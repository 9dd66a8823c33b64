"""Results of an annotation in a data file, without the matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from sctab.io._damage import explains_damage
from sctab.io._data_file import DataFile
from sctab.io._tables import Table, quietly


def read_results(file: DataFile, *, obs: Sequence[str], obsm: Sequence[str], uns: Sequence[str]) -> AnnData:
    """Columns of `obs`, arrays of `obsm` and entries of `uns`, as an AnnData without features.

    Parameters
    ----------
    file
        The file.
    obs, obsm
        Names; those that the file does not have are left out.
    uns
        Beginnings of names, such as the prefix of an annotation.

    Raises
    ------
    DataFileError
        If the file is damaged.
    """
    with explains_damage(file.path), quietly():
        cells = file.cells
        table = (cells or Table(file.group, "obs")).select([name for name in obs if name in file.obs_columns])
        table.index = pd.RangeIndex(file.n_obs).astype(str)
        arrays = file.group.get("obsm", {})
        found = {name: _array(arrays[name]) for name in obsm if name in arrays}
        stored = {name: file.group["uns"][name] for name in file.group.get("uns", {})}
        if cells is not None:  # results of a MuData are in its own slots
            of_all = {name: _array(cells.arrays_of_all("obsm")[name]) for name in obsm if name in cells.arrays_of_all("obsm")}
            found |= {name: cells.in_order(values) for name, values in of_all.items() if values is not None}
            stored |= {name: cells.arrays_of_all("uns")[name] for name in cells.arrays_of_all("uns")}
        names = [name for name in stored if any(name == each or name.startswith(f"{each}_") for each in uns)]
        return AnnData(
            obs=table,
            obsm={name: values for name, values in found.items() if values is not None and len(values) == file.n_obs},
            uns={name: read_elem(stored[name]) for name in names},
        )


def _array(elem: Any) -> np.ndarray | None:
    """A dense array; `None` for anything else."""
    return None if hasattr(elem, "keys") else np.asarray(elem[...])
