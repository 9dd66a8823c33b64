"""Types in each sample."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from sctab.get._groups import column_of, types_of, with_no_label
from sctab.keys import DEFAULT_KEY_ADDED


def composition(adata: AnnData, sample_key: str, *, groupby: str | None = None, key_added: str = DEFAULT_KEY_ADDED) -> pd.DataFrame:
    """Get the number of cells of each type in each sample.

    Parameters
    ----------
    adata
        Annotated cells.
    sample_key
        Column of `adata.obs` with samples, such as donors or batches; cells without one are left out.
    groupby
        Column of `adata.obs` with types; by default the labels of the annotation.
    key_added
        Prefix of the annotation.

    Returns
    -------
    A row per sample and type, also where there are no cells: `sample`, `type`, `cells`, and `fraction`, that of the cells of the sample.
    Samples are in the order of their categories, types as in :func:`sctab.get.types`, the most frequent first.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> table = sctab.get.composition(adata, "phase")
    >>> [round(total, 6) for total in table.groupby("sample")["fraction"].sum()]
    [1.0, 1.0, 1.0]
    """
    types = with_no_label(types_of(adata, groupby, key_added))
    samples = column_of(adata, "sample_key", sample_key)
    counts = pd.crosstab(samples, types)
    counts.index, counts.columns = counts.index.astype(str), counts.columns.astype(str)
    in_order = [name for name in samples.categories if name in counts.index]
    by_size = counts.sum().sort_values(ascending=False, kind="stable").index
    rows = [(sample, name, int(counts.loc[sample, name])) for sample in in_order for name in by_size]
    long = pd.DataFrame(rows, columns=["sample", "type", "cells"])
    return long.assign(fraction=long["cells"] / long.groupby("sample")["cells"].transform("sum"))
