"""An annotation, one row per cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.errors import InputValueError, KeyNotFoundError, listing, place
from sctab.get._groups import column_of, types_of
from sctab.keys import (
    DEFAULT_KEY_ADDED,
    OBS_CONFIDENCE,
    OBS_IS_UNSEEN,
    OBS_LABEL,
    OBS_TERM,
    OBS_UNSEEN,
    OBSM_LATENT_PREFIX,
)

_COLUMNS = (OBS_CONFIDENCE, OBS_TERM, OBS_UNSEEN, OBS_IS_UNSEEN)


def annotation(
    adata: AnnData, *, basis: str | None = None, columns: Sequence[str] = (), key_added: str = DEFAULT_KEY_ADDED
) -> pd.DataFrame:
    """Get the label of each cell with its confidence, promised term and p-value, under names without a prefix.

    Parameters
    ----------
    adata
        Annotated cells.
    basis
        An embedding in `adata.obsm` whose first two coordinates are given as well: `"umap"` for `X_umap`, or its whole key.
    columns
        Further columns of `adata.obs`, such as samples.
    key_added
        Prefix of the annotation.

    Returns
    -------
    A row per cell, with the columns

    `x`, `y` : float
        Coordinates, with `basis`.
    `label` : categorical
        The label; `NaN` where the cell has none.
    `confidence` : float
        Its probability.
    `term` : categorical
        The promised term, where the cells were annotated with an accepted error.
    `unseen`, `is_unseen`
        p-value for being of a type that the model has learned, and whether the cell is reported as unseen, where this was tested.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or if the embedding or a column does not exist.
    InputValueError
        If the embedding has fewer than two coordinates, or none that is finite.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> list(sctab.get.annotation(adata, basis="umap", columns=["louvain"]).columns)
    ['x', 'y', 'label', 'confidence', 'louvain']
    """
    table = pd.DataFrame(index=adata.obs_names) if hasattr(adata, "obs_names") else pd.DataFrame()
    label = types_of(adata, None, key_added)
    if basis is not None:
        table["x"], table["y"] = _coordinates(adata, basis, key_added)
    table[OBS_LABEL] = label
    for name in _COLUMNS:
        if (key := f"{key_added}_{name}") in adata.obs:
            table[name] = column_of(adata, "columns", key) if name == OBS_TERM else adata.obs[key].to_numpy()
    for key in columns:
        table[key] = column_of(adata, "columns", key)
    return table


def _coordinates(adata: AnnData, basis: str, key_added: str) -> tuple[np.ndarray, np.ndarray]:
    keys = [key for key in (basis, f"X_{basis}") if key in adata.obsm]
    if not keys:
        latent = f"{OBSM_LATENT_PREFIX}{key_added}"
        neighbours = f"sc.pp.neighbors(adata, use_rep={latent!r})" if latent in adata.obsm else "sc.pp.neighbors(adata)"
        fix = f"Run `{neighbours}` and `sc.tl.umap(adata)`, or" if "umap" in basis else "Compute it, or"
        raise KeyNotFoundError(
            place(f"obsm['X_{basis}']"), f" not found. {fix} choose another `basis`. Available: {listing(adata.obsm.keys())}."
        )
    values = np.asarray(adata.obsm[keys[0]])
    if values.ndim != 2 or values.shape[1] < 2:
        raise InputValueError(place(f"obsm[{keys[0]!r}]"), f" must have two coordinates or more; its shape is {values.shape}.")
    if not np.isfinite(values[:, :2]).any():
        raise InputValueError(place(f"obsm[{keys[0]!r}]"), " has no finite coordinate. Compute it again.")
    return values[:, 0], values[:, 1]
