"""Colours of types that are stored with the data."""

from __future__ import annotations

from anndata import AnnData

from sctab.get._groups import label_key
from sctab.keys import DEFAULT_KEY_ADDED


def stored_colours(adata: AnnData, key: str | None = None, *, key_added: str = DEFAULT_KEY_ADDED) -> dict[str, str]:
    """Colours by category that scanpy keeps in `uns['{key}_colors']`; none where it does not exist or has another length.

    Parameters
    ----------
    adata
        Cells.
    key
        Column of `obs`; by default the labels of the annotation.
    key_added
        Prefix of the annotation.
    """
    key = key or label_key(key_added)
    stored = adata.uns.get(f"{key}_colors")
    categories = getattr(getattr(adata.obs.get(key), "cat", None), "categories", None)
    if stored is None or categories is None or isinstance(stored, str) or not hasattr(stored, "__len__"):
        return {}
    if len(stored) != len(categories):
        return {}
    return {str(name): str(colour) for name, colour in zip(categories, stored, strict=True)}
