"""Labels, donors and matrix of the cells that preprocessing chooses from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import (
    Source,
    choose_source,
)
from sctab.errors import LabelError, missing_key, warn
from sctab.sampling import (
    herding,
    k_centre,
)

CORESETS = {"k-centre": k_centre, "herding": herding}


def codes(adata: AnnData, key: str, parameter: str) -> NDArray[np.int64]:
    """Numbers for the values of a column, in the order of the alphabet; -1 where there is none."""
    if key not in adata.obs:
        raise missing_key(parameter, key, adata.obs.columns)
    column = adata.obs[key]
    return pd.factorize(column.astype(str).where(column.notna()), sort=True)[0].astype(np.int64)


def labels_and_donors(adata: AnnData, labels_key: str, donor_key: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Numbers for types and, where there is a `donor_key`, for donors; a cell that has a type must have a donor."""
    labels = codes(adata, labels_key, "labels_key")
    if donor_key is None:
        return labels, None
    donors = codes(adata, donor_key, "donor_key")
    if n_without := int(((labels >= 0) & (donors < 0)).sum()):
        raise LabelError(
            f"`adata.obs[{donor_key!r}]` has no donor (NaN) for {n_without} of {int((labels >= 0).sum())} cells with a "
            "label. Fill them in, or omit `donor_key`."
        )
    return labels, donors


def mask(chosen: NDArray[np.int64], n_obs: int) -> NDArray[np.bool_]:
    """A mask of the chosen positions, `(n_obs,)`."""
    found = np.zeros(n_obs, dtype=np.bool_)
    found[chosen] = True
    return found


def open_source(adata: AnnData, layer: str | None) -> Source:
    """The matrix to work on, having said what should be known about it."""
    source, notes = choose_source(adata, layer=layer)
    for note in notes:
        warn(note)
    return source
