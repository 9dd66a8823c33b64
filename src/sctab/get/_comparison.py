"""Two columns of labels of the same cells."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from sctab.get._annotation import read_annotation
from sctab.get._groups import NO_LABEL, column_of, label_key, terms_of, with_no_label
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.ontology import CellOntology, label_tree


def comparison(
    adata: AnnData,
    labels_key: str,
    other_key: str | None = None,
    *,
    key_added: str = DEFAULT_KEY_ADDED,
    ontology: CellOntology | None = None,
) -> pd.DataFrame:
    """Get how often each two labels of two columns meet, along the Cell Ontology.

    Parameters
    ----------
    adata
        Annotated cells.
    labels_key
        Column of `adata.obs` with labels, such as those of the authors.
    other_key
        Another one; by default the labels of the annotation.
    key_added
        Prefix of the annotation.
    ontology
        The Cell Ontology; by default the release that the model used, or the newest if that is not embedded.

    Returns
    -------
    A row per pair of labels that occurs, with the columns

    `label`, `other` : categorical
        The label in `labels_key`, and the one in the other column.
    `cells`, `fraction`
        Number of cells that have both, and the fraction of the cells of `label` that they are.
    `agreement` : str
        `same`; `narrower` or `broader`, where `other` is a kind of `label` or the reverse; `different`; or `unknown`, where the ontology
        does not know one of them.

    Categories of both columns are in the order of the ontology, so that related types are neighbours. Labels that it does not know come
    after the others, and cells without a label last.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> table = sctab.get.comparison(adata, "bulk_labels")
    >>> int(table["cells"].sum())
    700
    """
    read = read_annotation(adata, key_added, ontology)
    one = with_no_label(column_of(adata, "labels_key", labels_key))
    other = with_no_label(column_of(adata, "other_key", other_key or label_key(key_added)))
    counts = pd.crosstab(one, other)
    names = dict.fromkeys([*map(str, counts.index), *map(str, counts.columns)])
    terms = terms_of(names, read)
    rank = {node.term: number for number, node in enumerate(label_tree(read.ontology, terms.values()))}
    order = sorted(names, key=lambda name: (name == NO_LABEL, rank[terms[name]], name))
    in_rows, in_columns = ([name for name in order if name in index] for index in (counts.index, counts.columns))
    rows = [(a, b, int(counts.loc[a, b])) for a in in_rows for b in in_columns if counts.loc[a, b]]
    table = pd.DataFrame(rows, columns=["label", "other", "cells"])
    return table.assign(
        label=pd.Categorical(table["label"], categories=in_rows, ordered=True),
        other=pd.Categorical(table["other"], categories=in_columns, ordered=True),
        fraction=table["cells"] / table.groupby("label", observed=True)["cells"].transform("sum"),
        agreement=[_agreement(a, b, terms, read.ontology) for a, b in zip(table["label"], table["other"], strict=True)],
    )


def _agreement(label: str, other: str, terms: dict[str, str], ontology: CellOntology) -> str:
    if label == other:
        return "unknown" if label == NO_LABEL else "same"
    one, two = terms[label], terms[other]
    if ontology.name(one) is None or ontology.name(two) is None:
        return "unknown"
    if one == two:
        return "same"
    if ontology.is_kind_of(two, one):
        return "narrower"
    return "broader" if ontology.is_kind_of(one, two) else "different"
