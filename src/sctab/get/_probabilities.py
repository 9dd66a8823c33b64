"""Probabilities of cell types at any level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.errors import KeyNotFoundError, LabelError, listing
from sctab.get._annotation import Annotation, read_annotation
from sctab.keys import DEFAULT_KEY_ADDED, OBSM_PROBABILITIES
from sctab.ontology import CellOntology


def probabilities(
    adata: AnnData,
    terms: str | Sequence[str] | None = None,
    *,
    key_added: str = DEFAULT_KEY_ADDED,
    ontology: CellOntology | None = None,
) -> pd.DataFrame:
    """Get the probability of every label, or of any cell types, summed along the Cell Ontology.

    Parameters
    ----------
    adata
        Annotated cells.
    terms
        One cell type or several: labels of the model, or names, synonyms or ids of the Cell Ontology. The probability of a type is the sum
        over the labels that are the type or its subtypes, so coarse and fine levels are consistent. By default all labels of the model.
    key_added
        Prefix of the annotation.
    ontology
        The Cell Ontology; by default the release that the model used, or the newest if that is not embedded.

    Returns
    -------
    `(n_obs, n_terms)`, one row per cell and one column per type, named as in `terms`. A type is `NaN` if neither it nor any subtype is a
    label of the model.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or if their probabilities were deleted.
    LabelError
        If a type is neither a label of the model nor known to the ontology.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> table = sctab.get.probabilities(adata, ["T cell", "lymphocyte"])
    >>> bool((table["T cell"] <= table["lymphocyte"]).all())
    True
    """
    annotation = read_annotation(adata, key_added, ontology)
    if annotation.probabilities is None:
        raise KeyNotFoundError(
            f"The cells are annotated, but `adata.obsm['{key_added}_{OBSM_PROBABILITIES}']` no longer exists. Call "
            f"`sctab.tl.annotate(adata, model, key_added={key_added!r})` again."
        )
    if terms is None:
        return pd.DataFrame(annotation.probabilities, index=adata.obs_names, columns=list(annotation.names))
    terms = [terms] if isinstance(terms, str) else list(terms)
    wanted = [_term(name, annotation) for name in terms]
    sums = annotation.ontology.sum_probabilities(annotation.probabilities, annotation.terms, wanted)
    known = [any(annotation.ontology.is_kind_of(label, term) for label in annotation.terms) for term in wanted]
    return pd.DataFrame(np.where(known, sums, np.nan), index=adata.obs_names, columns=terms)


def _term(name: str, annotation: Annotation) -> str:
    if name in annotation.names:
        return annotation.terms[annotation.names.index(name)]
    resolution = annotation.ontology.resolve(name)
    if resolution.term is None:
        raise LabelError(
            f"`{name}` is neither a label of the model nor known to the Cell Ontology ({annotation.ontology.version}). "
            f"{resolution.note + ' ' if resolution.note else ''}Labels: {listing(annotation.names)}."
        )
    return resolution.term
