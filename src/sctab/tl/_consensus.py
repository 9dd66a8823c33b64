"""Consensus of labels of several tools along the Cell Ontology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import LabelError, Parameter, SettingError, listing, missing_key, place, warn
from sctab.keys import (
    DEFAULT_KEY_ADDED,
    OBS_AGREEMENT,
    OBS_CONSENSUS,
    OBS_CONSENSUS_ID,
    OBS_CONSENSUS_N_LABELS_BELOW,
    UNS_CONSENSUS,
    check_key_added,
)
from sctab.ontology import CellOntology, Consensus, MappedLabels, label_ids_from, tissues_of, unused

ID_SUFFIXES = ("_id", "_ontology_term_id")
"""Ends of the names of columns with ids beside columns with labels: of `sctab`, and of CELLxGENE."""


def consensus(
    adata: AnnData,
    keys: Sequence[str],
    *,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
    max_labels_below: int | None = None,
    ontology: CellOntology | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
) -> AnnData | None:
    """Find the most specific Cell Ontology term that the labels of several tools have in common.

    Labels of each tool are mapped to the Cell Ontology by id, name, synonym or plural, see
    :meth:`sctab.ontology.CellOntology.resolve`; those that are not certain do not count, and a warning lists them with the nearest names.
    :doc:`/consensus` describes the kinds of agreement.

    Parameters
    ----------
    adata
        Cells with labels of several tools.
    keys
        Columns of `adata.obs` with labels, at least two. If ids are beside one, in `{key}_id` or `{key}_ontology_term_id`, they are used.
    label_ids
        Cell Ontology ids of labels, by label, or a file of them, see :func:`sctab.ontology.read_label_map`. They take precedence.
    max_labels_below
        Number of terms that an answer may leave open at most, among all terms that occur in the columns. By default a common term of labels
        of which neither is a kind of the other leaves at most half of them open, and at least two; other answers are as broad as the
        broadest label.
    ontology
        The Cell Ontology; by default the newest embedded release.
    key_added
        Prefix of the results.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following fields:

    `adata.obs['{key_added}_consensus']`, `adata.obs['{key_added}_consensus_id']` : categorical
        Name and id of the lowest common term; `NaN` where there is none.
    `adata.obs['{key_added}_agreement']` : categorical
        `same`, `nested`, `siblings`, `conflict`, or `single` where only one tool has a label that counts; `NaN` where none has.
    `adata.obs['{key_added}_consensus_n_labels_below']` : float
        How many of the terms that occur the answer leaves open; `NaN` where there is none.
    `adata.uns['{key_added}_consensus']` : dict
        Tables, see :func:`sctab.get.consensus`, and what was compared.

    Raises
    ------
    KeyNotFoundError
        If a column does not exist.
    SettingError
        If there are fewer than two columns, one is named twice, or `max_labels_below` is less than one.
    LabelError
        If a column has no label that is certain in the Cell Ontology, or a given id is unknown.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.consensus(adata, ["bulk_labels", "sctab_label"])
    >>> sorted(adata.obs["sctab_agreement"].cat.categories)
    ['conflict', 'nested', 'same', 'siblings', 'single']
    """
    check_key_added(key_added)
    require_cells(adata)
    require_writable(adata, copy=copy)
    keys = [keys] if isinstance(keys, str) else list(keys)
    if len(keys) < 2:
        raise SettingError(
            Parameter("keys", keys), " has fewer than two columns, and one tool has nothing to agree with. Name two or more."
        )
    if len(set(keys)) < len(keys):
        raise SettingError(Parameter("keys", keys), " names a column twice. Name each once.")
    if max_labels_below is not None and (isinstance(max_labels_below, bool) or int(max_labels_below) < 1):
        raise SettingError(
            Parameter("max_labels_below", max_labels_below), " must be at least 1, which allows an answer no subtypes."
        )
    if absent := [key for key in keys if key not in adata.obs]:
        raise missing_key("keys", absent[0], adata.obs.columns)
    ontology = ontology or CellOntology.embedded()
    given = {} if label_ids is None else label_ids_from(label_ids, ontology)
    tissues = tissues_of(adata.obs)
    mapped = {
        key: MappedLabels.of(adata.obs[key], ontology, label_ids={**ids_beside(adata.obs, key, ontology), **given}, tissues=tissues)
        for key in keys
    }
    for key, labels in mapped.items():
        if not labels.has_terms:
            raise LabelError(place(f"obs[{key!r}]"), f" {_why_nothing(labels, ontology)}")
    found = Consensus.of(mapped, ontology, max_labels_below)

    target = target_of(adata, copy=copy)
    columns = found.columns()
    target.obs[f"{key_added}_{OBS_CONSENSUS}"] = columns["term"]
    target.obs[f"{key_added}_{OBS_CONSENSUS_ID}"] = columns["id"]
    target.obs[f"{key_added}_{OBS_AGREEMENT}"] = columns["agreement"]
    target.obs[f"{key_added}_{OBS_CONSENSUS_N_LABELS_BELOW}"] = columns["n_labels_below"]
    notes = found.notes()
    if given and (note := unused(given, {label for each in mapped.values() for label in each.labels}, "the columns")):
        notes.append(note)
    target.uns[f"{key_added}_{UNS_CONSENSUS}"] = {
        "keys": np.array(keys),
        "ontology_version": ontology.version,
        "max_labels_below": 0 if max_labels_below is None else int(max_labels_below),
        "agreement": found.agreement_table(),
        "combinations": found.combination_table(),
        "labels": found.label_table(),
        "notes": notes,
    }
    for note in notes:
        warn(note)
    return target if copy else None


def ids_beside(obs: pd.DataFrame, key: str, ontology: CellOntology) -> dict[str, str]:
    """Ids of the labels of a column, from a column beside it; labels with several ids, or none in the ontology, are left out.

    Parameters
    ----------
    obs
        Annotation of the cells.
    key
        Column with labels.
    ontology
        The Cell Ontology.
    """
    for name in (f"{key}{suffix}" for suffix in ID_SUFFIXES):
        if name in obs:
            pairs = obs[[key, name]].dropna().astype(str).drop_duplicates()
            alone = pairs[~pairs[key].duplicated(keep=False)]
            return {label: term for label, term in zip(alone[key], alone[name], strict=True) if ontology.name(term)}
    return {}


def _why_nothing(labels: MappedLabels, ontology: CellOntology) -> str:
    """Reason why a column has nothing to compare, and the fix."""
    if not labels.unmapped:
        return "has no label (all are missing, or say that no type is known). Name another column."
    near = " ".join(labels.notes[label] for label in labels.unmapped[:5] if label in labels.notes)
    return (
        f"has no label that is certain in the Cell Ontology ({ontology.version}): {listing(labels.unmapped)}. {near}{' ' * bool(near)}"
        "Name a column of cell types, or provide ids with `label_ids` (`--label-map`)."
    )
