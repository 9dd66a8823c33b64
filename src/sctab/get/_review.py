"""Review of given labels as tables."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED, UNS_REVIEW

_TABLES = {"cells": "cells", "pairs": "pairs", "groups": "groups_table"}


def review(
    adata: AnnData, table: Literal["cells", "pairs", "groups"] = "cells", *, key_added: str = DEFAULT_KEY_ADDED
) -> pd.DataFrame:
    """Get the queue of cells whose given label is contradicted, the noise of pairs of labels, or the ranking of clusters.

    Parameters
    ----------
    adata
        Cells with results of :func:`sctab.tl.review`.
    table
        Name of the table.
    key_added
        Prefix of the results.

    Returns
    -------
    For `"cells"`, a row per suspect cell, those with the least probable given label first:

    `cell`, `position`
        Its name, and its position in the data.
    `given`, `suggested`
        Its given label, and the most probable label that contradicts it.
    `margin`, `p_given`, `p_suggested` : float
        Probability of what the given label accepts and of the suggested one, and their difference.
    `group` : str
        Its cluster, if clusters were named.
    `genes_for`, `genes_against` : str
        Genes whose expression in the cell speaks for the suggested label rather than the given one, and the reverse, the first most.

    For `"pairs"`, a row per given label and label that contradicts it: `cells` with the given label, `confident` of them that are
    confidently of the other one, the estimated `rate`, and the `expected` number of wrong labels, by which rows are ordered.

    For `"groups"`, a row per cluster, the most contradicted first: `group`, `cells`, its most frequent `given` label with its
    `given_share`, the `suggested` label, `margin`, `p_given` and `p_suggested` of its mean probabilities, and `n_suspect` cells.

    Raises
    ------
    KeyNotFoundError
        If there is no review under this prefix, or none of clusters.
    SettingError
        If there is no such table.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.review(adata, "bulk_labels", annotation_key="sctab", groups="louvain")
    >>> len(sctab.get.review(adata, "groups")) == adata.obs["louvain"].nunique()
    True
    """
    require_cells(adata)
    if table not in _TABLES:
        raise SettingError(Parameter("table", table), f" is not one of {listing(_TABLES)}.")
    key = f"{key_added}_{UNS_REVIEW}"
    if key not in adata.uns:
        raise KeyNotFoundError(
            f"`adata.uns[{key!r}]` not found. Call `sctab.tl.review(adata, labels_key, key_added={key_added!r})` first."
        )
    if _TABLES[table] not in adata.uns[key]:
        raise KeyNotFoundError("The review is not of clusters. Call `sctab.tl.review` with `groups`, a column of clusters.")
    return adata.uns[key][_TABLES[table]].reset_index(drop=True)
