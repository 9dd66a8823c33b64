"""Splits of cells into training and validation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab._deprecation import renamed_argument
from sctab.data import require_anndata, require_writable, target_of
from sctab.keys import DEFAULT_KEY_ADDED, OBS_SPLIT, check_key_added
from sctab.pp._cells import labels_and_donors
from sctab.sampling import SplitRule, assign_splits

_FRACTIONS = MappingProxyType({"train": 0.7, "validation": 0.15, "test": 0.15})


@renamed_argument("sizes", "fractions", since="0.1", removed_in="0.3")
def split(
    adata: AnnData,
    labels_key: str,
    *,
    donor_key: str | None = None,
    fractions: Mapping[str, float] = _FRACTIONS,
    by: SplitRule | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Split cells into training, validation and test sets.

    Parameters
    ----------
    adata
        Annotated cells, `(n_obs, n_vars)`.
    labels_key
        Column of `adata.obs` with cell types. Cells without one (NaN) are not assigned.
    donor_key
        Column of `adata.obs` with donors, or another unit whose cells must stay together.
    fractions
        Name and fraction of each split; they sum to one. The first is the one to learn from: it gets cells of every type, unless
        split by donor.
    by
        `"type"` splits the cells of every type in these proportions; `"donor"` assigns whole donors at random; `"both"` assigns whole
        donors so that the types are balanced across splits. By default `"both"` with a `donor_key`, else `"type"`. Only a split by whole
        donors measures performance on new donors.
    key_added
        Prefix of the result keys.
    seed
        Random seed.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following field:

    `adata.obs['{key_added}_split']` : categorical
        The name of each cell's split; `NaN` for cells without a label.

    Raises
    ------
    KeyNotFoundError
        If a column does not exist.
    LabelError
        If cells with a label have no donor, or if types have too few cells or donors for these splits.
    SettingError
        If the fractions are invalid, if there are fewer donors than splits, or if there is no `donor_key` to split by.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sctab.pp.split(adata, "bulk_labels")
    >>> adata.obs["sctab_split"].value_counts().to_dict()
    {'train': 491, 'validation': 105, 'test': 104}
    """
    check_key_added(key_added)
    require_anndata(adata)
    require_writable(adata, copy=copy)
    labels, donors = labels_and_donors(adata, labels_key, donor_key)
    splits = assign_splits(
        labels,
        donors,
        fractions=list(fractions.values()),
        by=by or ("type" if donor_key is None else "both"),
        rng=np.random.default_rng(seed),
    )
    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_SPLIT}"] = pd.Categorical.from_codes(splits, categories=list(fractions))
    return target if copy else None
