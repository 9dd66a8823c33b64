"""Explanations as a table."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError
from sctab.keys import DEFAULT_KEY_ADDED, UNS_EXPLANATION


def explanation(adata: AnnData, *, key_added: str = DEFAULT_KEY_ADDED) -> pd.DataFrame:
    """Get the top genes of each type, in order of weight.

    Parameters
    ----------
    adata
        Cells with results of :func:`sctab.tl.explain`.
    key_added
        Prefix of the results.

    Returns
    -------
    A row per type and gene, with the columns

    `type` : str
        The label that the model gave, or the value of the column that was grouped by.
    `rank` : int
        From 1, the gene with the largest weight.
    `gene` : str
        Its symbol, or its Ensembl id where it has none of its own.
    `gene_id` : str
        Its Ensembl id; empty where the model does not know it.
    `weight` : float
        Fraction of the decision that it carries, between 0 and 1, averaged over the cells of the type.
    `expressed` : float
        Fraction of these cells that express it. Where it is small, its absence speaks for the type.
    `cells` : int
        How many cells these are.

    Raises
    ------
    KeyNotFoundError
        If there is no explanation under this prefix.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.explain(adata, n_top=3)
    >>> table = sctab.get.explanation(adata)
    >>> list(table.columns)
    ['type', 'rank', 'gene', 'gene_id', 'weight', 'expressed', 'cells']
    """
    require_cells(adata)
    key = f"{key_added}_{UNS_EXPLANATION}"
    if key not in adata.uns:
        raise KeyNotFoundError(f"`adata.uns[{key!r}]` not found. Call `sctab.tl.explain(adata, key_added={key_added!r})` first.")
    return adata.uns[key]["types"].reset_index(drop=True)
