"""Random subsampling."""

from __future__ import annotations

from typing import Literal

import numpy as np
from anndata import AnnData

from sctab.data import require_anndata
from sctab.errors import LabelError, Parameter, SettingError
from sctab.pp._cells import codes
from sctab.sampling import nested_subset
from sctab.train import own_copy


def subsample(
    adata: AnnData,
    fraction: float,
    *,
    by: Literal["cell", "donor"] = "cell",
    donor_key: str | None = None,
    seed: int = 0,
) -> AnnData:
    """Subsample a random fraction of the cells or donors; smaller subsets are nested in larger ones.

    With the same cells and seed, the 15 % subset is contained in the 30 % subset, and so on, so that scaling curves are not confounded by
    the choice of cells.

    Parameters
    ----------
    adata
        Cells to choose from, `(n_obs, n_vars)`; it is not changed.
    fraction
        Fraction above 0 and up to 1; numbers of cells or donors are rounded up.
    by
        `"cell"` chooses among all cells, `"donor"` whole donors.
    donor_key
        Column of `adata.obs` with donors, to choose by.
    seed
        Random seed.

    Returns
    -------
    A new AnnData in memory, with the chosen cells in their order.

    Raises
    ------
    KeyNotFoundError
        If the column does not exist.
    LabelError
        If cells have no donor.
    SettingError
        If the fraction is not above 0 and at most 1, or `by` and `donor_key` do not go together.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> few, more = (sctab.pp.subsample(adata, fraction, seed=1) for fraction in (0.15, 0.3))
    >>> few.n_obs, more.n_obs, few.obs_names.isin(more.obs_names).all()
    (105, 210, np.True_)
    """
    require_anndata(adata)
    if by not in ("cell", "donor"):
        raise SettingError(Parameter("by", by), " must be `'cell'` or `'donor'`.")
    if (by == "donor") != (donor_key is not None):
        raise SettingError("Whole donors are chosen with `by='donor'` and `donor_key=…` together, single cells with neither.")
    units = np.arange(adata.n_obs) if donor_key is None else codes(adata, donor_key, "donor_key")
    if n_without := int((units < 0).sum()):
        raise LabelError(
            f"`adata.obs[{donor_key!r}]` has no donor (NaN) for {n_without} of {adata.n_obs} cells. Fill them in, or remove those cells."
        )
    return own_copy(adata, nested_subset(units, fraction, rng=np.random.default_rng(seed)))
