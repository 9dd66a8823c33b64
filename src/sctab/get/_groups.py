"""Types of cells: the labels of an annotation, or any column of `obs`, as strings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError, missing_key, place
from sctab.get._annotation import Annotation, annotate_call
from sctab.keys import OBS_LABEL

NO_LABEL = "no label"
"""Type of the cells without one."""


def label_key(key_added: str) -> str:
    """Column of `obs` with the labels of an annotation."""
    return f"{key_added}_{OBS_LABEL}"


def types_of(adata: AnnData, groupby: str | None, key_added: str) -> pd.Categorical:
    """The type of each cell, `NaN` for a cell without one; categories are strings, in the order of the column.

    Parameters
    ----------
    adata
        Cells.
    groupby
        Column of `obs`; by default the labels of the annotation.
    key_added
        Prefix of the annotation.

    Raises
    ------
    KeyNotFoundError
        If the column does not exist.
    """
    require_cells(adata)
    if groupby is not None:
        return column_of(adata, "groupby", groupby)
    if label_key(key_added) not in adata.obs:
        raise KeyNotFoundError(place(f"obs[{label_key(key_added)!r}]"), " not found. Run ", annotate_call(key_added), " first.")
    return as_strings(adata.obs[label_key(key_added)])


def column_of(adata: AnnData, parameter: str, key: str) -> pd.Categorical:
    """A column of `obs` as categories that are strings.

    Raises
    ------
    KeyNotFoundError
        If it does not exist.
    """
    if key not in adata.obs:
        raise missing_key(parameter, key, adata.obs.columns)
    return as_strings(adata.obs[key])


def as_strings(values: pd.Series) -> pd.Categorical:
    """Values as categories that are strings; different values that are written in the same way become one."""
    found = pd.Categorical(values)
    names = pd.Index([str(name) for name in found.categories], dtype=object)
    if names.is_unique:
        return pd.Categorical.from_codes(found.codes, categories=names)
    unique = names.unique()
    positions = np.append(unique.get_indexer(names), -1)
    return pd.Categorical.from_codes(positions[found.codes], categories=unique)


def with_no_label(types: pd.Categorical) -> pd.Categorical:
    """The same, where cells without a type are a type of their own."""
    if not (types.codes < 0).any():
        return types
    if NO_LABEL not in types.categories:
        types = types.add_categories([NO_LABEL])
    return types.fillna(NO_LABEL)


def terms_of(names: Iterable[str], annotation: Annotation) -> dict[str, str]:
    """Term of each name in the ontology: that of the model for its labels, else that which has this name; the name where there is none."""
    known = dict(zip(annotation.names, annotation.terms, strict=True))
    return {name: known.get(name) or annotation.ontology.resolve(name).term or name for name in names}
