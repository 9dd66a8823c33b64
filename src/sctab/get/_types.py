"""An annotation, one row per type."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.get._annotation import read_annotation
from sctab.get._cells import annotation as annotation_of_cells
from sctab.get._groups import NO_LABEL, with_no_label
from sctab.keys import DEFAULT_KEY_ADDED, OBS_CONFIDENCE, OBS_IS_UNSEEN, OBS_LABEL, OBS_TERM

_DOUBTFUL = 0.5
"""Confidence below which another label, or several others, are together as probable."""


def types(adata: AnnData, *, key_added: str = DEFAULT_KEY_ADDED) -> pd.DataFrame:
    """Get the number of cells of each type, their confidence, and what is promised of them.

    Parameters
    ----------
    adata
        Annotated cells.
    key_added
        Prefix of the annotation.

    Returns
    -------
    A row per label that occurs, the most frequent first; cells without one are the type `no label`. Columns are

    `type`, `id` : str
        The label, and its Cell Ontology id; empty where it has none.
    `cells`, `fraction`
        Number of cells, and the fraction of all cells that they are.
    `confidence` : float
        Median confidence.
    `doubtful` : float
        Fraction of the cells whose confidence is below 0.5.
    `term`, `term_fraction`
        Most frequent promised term of the cells, and the fraction of them that have it; empty and `NaN` without an accepted error.
    `left_open` : float
        Fraction of the cells of which no term can be promised; `NaN` without an accepted error.
    `unseen` : float
        Fraction of the cells that are reported as unseen; `NaN` where this was not tested.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> table = sctab.get.types(adata)
    >>> int(table["cells"].sum()) == adata.n_obs
    True
    """
    read = read_annotation(adata, key_added, None)
    cells = annotation_of_cells(adata, key_added=key_added)
    by_type = cells.groupby(with_no_label(pd.Categorical(cells[OBS_LABEL])), observed=True, sort=False)
    ids = {name: term for name, term in zip(read.names, read.terms, strict=True) if read.ontology.name(term) is not None}
    table = pd.DataFrame({"cells": by_type.size()})
    table["fraction"] = table["cells"] / max(len(cells), 1)
    confidence = by_type[OBS_CONFIDENCE] if OBS_CONFIDENCE in cells else None
    table["confidence"] = np.nan if confidence is None else confidence.median()
    table["doubtful"] = np.nan if confidence is None else confidence.apply(lambda values: (values < _DOUBTFUL).mean())
    table["term"], table["term_fraction"], table["left_open"] = "", np.nan, np.nan
    if OBS_TERM in cells:
        for name, terms in by_type[OBS_TERM]:
            counts = terms.value_counts()
            if len(counts) and counts.iloc[0] > 0:
                table.loc[name, ["term", "term_fraction"]] = [str(counts.index[0]), counts.iloc[0] / len(terms)]
        table["left_open"] = by_type[OBS_TERM].apply(lambda terms: terms.isna().mean())
    table["unseen"] = by_type[OBS_IS_UNSEEN].mean() if OBS_IS_UNSEEN in cells else np.nan
    table.insert(0, "type", table.index.astype(str))
    table.insert(1, "id", [ids.get(name, "") for name in table["type"]])
    is_last = table["type"] == NO_LABEL
    order = np.lexsort((np.arange(len(table)), -table["cells"].to_numpy(), is_last.to_numpy()))
    return table.iloc[order].reset_index(drop=True).astype({"term_fraction": float, "left_open": float, "unseen": float})
