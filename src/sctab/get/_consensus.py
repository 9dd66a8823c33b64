"""Agreement of labels of several tools as tables."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED, UNS_CONSENSUS

_TABLES = ("agreement", "combinations", "labels")


def consensus(
    adata: AnnData,
    table: Literal["agreement", "combinations", "labels"] = "agreement",
    *,
    key_added: str = DEFAULT_KEY_ADDED,
) -> pd.DataFrame:
    """Get how far the labels of several tools agree, and how each label was mapped to the Cell Ontology.

    Parameters
    ----------
    adata
        Cells with results of :func:`sctab.tl.consensus`.
    table
        Name of the table.
    key_added
        Prefix of the results.

    Returns
    -------
    For `"agreement"`, a row per kind of agreement, with the columns

    `agreement` : str
        `same`, `nested`, `siblings`, `conflict`, `single`, or `no label`.
    `cells`, `fraction`
        Cells of that kind, and the fraction of all cells that they are.

    For `"combinations"`, a row per combination of labels, the most frequent first: a column per tool with its label, empty where there is
    none, `cells`, `agreement`, and the `term`, `id` and `n_labels_below` of the answer.

    For `"labels"`, a row per tool and label: `source`, `label`, `cells`, the `term` and `id` that it was mapped to, empty where it is not
    certain, and a `note` on how it was read or on the nearest names.

    Raises
    ------
    KeyNotFoundError
        If there is no consensus under this prefix.
    SettingError
        If there is no such table.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.consensus(adata, ["bulk_labels", "sctab_label"])
    >>> int(sctab.get.consensus(adata)["cells"].sum())
    700
    """
    require_cells(adata)
    if table not in _TABLES:
        raise SettingError(Parameter("table", table), f" is not one of {listing(_TABLES)}.")
    key = f"{key_added}_{UNS_CONSENSUS}"
    if key not in adata.uns:
        raise KeyNotFoundError(
            f"`adata.uns[{key!r}]` not found. Call `sctab.tl.consensus(adata, keys, key_added={key_added!r})` first."
        )
    return adata.uns[key][table].reset_index(drop=True)
