"""Types of an annotation as a tree of the Cell Ontology."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.get._annotation import read_annotation
from sctab.get._groups import terms_of, types_of
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.ontology import CellOntology, label_tree


def ontology(
    adata: AnnData, *, groupby: str | None = None, key_added: str = DEFAULT_KEY_ADDED, ontology: CellOntology | None = None
) -> pd.DataFrame:
    """Get the types that occur as a tree of the Cell Ontology, with the number of cells at and below each term.

    Terms that group two or more of the types are part of it. A type with several parents in the ontology has one of them in the tree.

    Parameters
    ----------
    adata
        Annotated cells.
    groupby
        Column of `adata.obs` with types; by default the labels of the annotation.
    key_added
        Prefix of the annotation.
    ontology
        The Cell Ontology; by default the release that the model used, or the newest if that is not embedded.

    Returns
    -------
    A row per term, from top to bottom as in an indented list, with the columns

    `term`, `name` : str
        Its id, and the type that has it, or the name of a term that groups others; where the ontology does not know a type, the type.
    `parent` : str
        Id of the term above it; empty at the top.
    `depth` : int
        Number of terms above it.
    `cells`, `cells_below` : int
        Cells of this type, and cells of this type or of one below it.
    `fraction` : float
        Fraction of all cells with a type that `cells_below` is.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or the column does not exist.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> tree = sctab.get.ontology(adata)
    >>> print(*tree.loc[0, ["name", "cells", "cells_below"]])
    hematopoietic cell 0 700
    """
    read = read_annotation(adata, key_added, ontology)
    found = types_of(adata, groupby, key_added)
    sizes = dict(zip(found.categories, np.bincount(found.codes[found.codes >= 0], minlength=len(found.categories)), strict=True))
    own: dict[str, int] = {}
    terms = terms_of((name for name, size in sizes.items() if size), read)
    for name, term in terms.items():
        own[term] = own.get(term, 0) + int(sizes[name])
    nodes = label_tree(read.ontology, own)
    label_of = {term: name for name, term in reversed(terms.items())}
    below = {node.term: own.get(node.term, 0) for node in nodes}
    for node in reversed(nodes):
        if node.parent is not None:
            below[node.parent] += below[node.term]
    return pd.DataFrame(
        {
            "term": [node.term for node in nodes],
            "name": [label_of.get(node.term, node.name) for node in nodes],
            "parent": [node.parent or "" for node in nodes],
            "depth": np.array([node.depth for node in nodes], dtype=int),
            "cells": np.array([own.get(node.term, 0) for node in nodes], dtype=int),
            "cells_below": np.array([below[node.term] for node in nodes], dtype=int),
            "fraction": np.array([below[node.term] for node in nodes]) / max(sum(own.values()), 1),
        }
    )
