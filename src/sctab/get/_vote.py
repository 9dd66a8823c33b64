"""Votes of groups of cells as a table."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError
from sctab.keys import DEFAULT_KEY_ADDED, UNS_VOTE


def vote(adata: AnnData, *, key_added: str = DEFAULT_KEY_ADDED) -> pd.DataFrame:
    """Get the label of each group of cells, and how far its cells agree.

    Parameters
    ----------
    adata
        Cells with results of :func:`sctab.tl.vote`.
    key_added
        Prefix of the results.

    Returns
    -------
    A row per group, with the columns

    `group` : str
        The value of the column of groups.
    `n_cells`, `n_voting` : int
        Cells of the group, and those of them that have a label.
    `label`, `id` : str
        Label of the group, and its Cell Ontology id; empty where no cell has a label, or the label no id.
    `share` : float
        Fraction of voting cells whose own label is that label or a subtype.
    `second`, `second_share`
        Most frequent label of the other cells, and the fraction of cells that have it.
    `reason` : str
        Why the group has no clear label or no term; empty where it has.
    `term`, `term_id`, `term_share`, `n_labels_below`
        If the cells have promised terms: that of the group, the fraction of its cells whose terms are at or below it, and the number of
        labels that it leaves open; empty, `NaN` and all labels where it has none.

    Raises
    ------
    KeyNotFoundError
        If there are no votes under this prefix.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> sctab.tl.vote(adata, "louvain")
    >>> len(sctab.get.vote(adata)) == adata.obs["louvain"].nunique()
    True
    """
    require_cells(adata)
    key = f"{key_added}_{UNS_VOTE}"
    if key not in adata.uns:
        raise KeyNotFoundError(f"`adata.uns[{key!r}]` not found. Call `sctab.tl.vote(adata, key_added={key_added!r})` first.")
    return adata.uns[key].reset_index(drop=True)
