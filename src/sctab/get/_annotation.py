"""Results of an annotation, for functions that build on them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import require_cells
from sctab.errors import Either, KeyNotFoundError, listing, place
from sctab.keys import DEFAULT_KEY_ADDED, OBS_LABEL, OBSM_PROBABILITIES
from sctab.ontology import CellOntology


@dataclass(frozen=True)
class Annotation:
    """Labels of the model that annotated, their probabilities, and the ontology that knows their ids.

    Attributes
    ----------
    names
        Labels of the model.
    terms
        Id of each in the `ontology`; where there is none, the label itself, which the ontology does not know.
    probabilities
        `(n_obs, n_labels)`; `None` where they were left out after annotation.
    ontology
        The one that was given; else the release of the model, or the newest where that is not embedded.
    note
        A sentence where it is not the release of the model; `""` otherwise.
    """

    names: tuple[str, ...]
    terms: tuple[str, ...]
    probabilities: NDArray[np.floating] | None
    ontology: CellOntology
    note: str


def annotate_call(key_added: str) -> Either:
    """Return how cells are annotated under a prefix."""
    shown = "" if key_added == DEFAULT_KEY_ADDED else f" --key-added {shlex.quote(key_added)}"
    return Either(
        f"`sctab.tl.annotate(adata, model, key_added={key_added!r})`", f"`sctab annotate query.h5ad --output annotated.h5ad{shown}`"
    )


def _other_keys(keys: Sequence[str]) -> str:
    return f" It has annotations under {listing(keys)}." if keys else ""


def read_annotation(adata: AnnData, key_added: str, ontology: CellOntology | None) -> Annotation:
    """Read the results that :func:`sctab.tl.annotate` wrote under a prefix.

    Raises
    ------
    KeyNotFoundError
        If it wrote nothing, or if its information on labels no longer exists.
    """
    require_cells(adata)
    run, label = adata.uns.get(key_added, {}), f"{key_added}_{OBS_LABEL}"
    if "labels" not in run:
        call = annotate_call(key_added)
        if label in adata.obs:
            raise KeyNotFoundError(
                place(f"obs[{label!r}]"),
                " is there, but ",
                place(f"uns[{key_added!r}]"),
                ", which says which labels the model has, is not. Run ",
                call,
                " again.",
            )
        others = [key for key, value in adata.uns.items() if isinstance(value, Mapping) and "labels" in value]
        raise KeyNotFoundError(f"The data has no annotation under `{key_added}`.{_other_keys(others)} Run ", call, " first.")
    version, note = str(run["model"]["ontology_version"]), ""
    if ontology is None:
        is_embedded = version in CellOntology.embedded_versions()
        ontology = CellOntology.embedded(version if is_embedded else None)
        if version and not is_embedded:
            note = (
                f"The model has its ids from release {version} of the Cell Ontology, which is not embedded; release "
                f"{ontology.version} is used. Provide an `ontology` to use another one."
            )
    probabilities = adata.obsm.get(f"{key_added}_{OBSM_PROBABILITIES}")
    names = tuple(map(str, run["labels"]["names"]))
    ids = map(str, run["labels"]["ids"])
    return Annotation(
        names=names,
        terms=tuple((ontology.resolve(term).term or term) if term else name for name, term in zip(names, ids, strict=True)),
        probabilities=None if probabilities is None else np.asarray(probabilities),
        ontology=ontology,
        note=note,
    )
