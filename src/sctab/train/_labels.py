"""Labels of a reference: checks and warnings before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sctab.errors import Either, LabelError, Message, Parameter, listing, place, warn
from sctab.inference import ModelSpec
from sctab.metrics import correct_predictions, macro_f1
from sctab.ontology import LabelSpace, label_values as values, unused

_FEW = 10
"""Labels that any number of cells may have."""


def check_labels(
    labels: pd.Series, key: str, *, unlabeled_category: str | None, label_ids: Mapping[str, str | None] | None = None
) -> str | None:
    """Refuse labels that cannot be meant or stored, and warn of those that may not be meant.

    A string that cannot be a cell type, such as `nan`, means "no label" where it is the only one and `unlabeled_category` is not given.

    Parameters
    ----------
    labels
        One per cell, `(n_obs,)`.
    key
        Column that they are from.
    unlabeled_category
        Label that means "no label".
    label_ids
        Confirmed ids: labels that are meant whatever they look like.

    Returns
    -------
    The label that means "no label".

    Raises
    ------
    LabelError
        If labels are missing, as NaN or as strings that cannot be cell types; if `unlabeled_category` is a label in another spelling; when
        results under the labels could not be stored; or if there are fewer than two types, or almost no type has two cells.
    """
    where, confirmed = place(f"obs[{key!r}]"), label_ids or {}
    if any(isinstance(value, bytes) for value in labels.dropna().unique()):
        raise LabelError(where, f" holds bytes. Decode them: `adata.obs[{key!r}] = adata.obs[{key!r}].str.decode('utf-8')`.")
    counts = labels.value_counts(sort=False)
    counts = counts[counts > 0].groupby(counts[counts > 0].index.astype(str)).sum()
    if note := unused(confirmed, set(counts.index), str(where)):
        warn(Message.of(note, where))
    unlabeled_category = _find_missing(labels, counts, where, unlabeled_category, set(confirmed))
    meant = {unlabeled_category, *confirmed}
    if unlabeled_category is not None and unlabeled_category not in counts.index:
        same = [group for group in values.alike({*counts.index, unlabeled_category}) if unlabeled_category in group]
        if same:
            others = [label for label in same[0] if label != unlabeled_category]
            there = values.counted(others, counts)
            given, category = Parameter("unlabeled_category", others[0]), Parameter("unlabeled_category")
            raise LabelError(
                Message.of(
                    f"No cell of {where} has the `unlabeled_category` {unlabeled_category!r}, but {there} differs from "
                    f"it in case or spaces only. Provide {given}, or use one spelling.",
                    where,
                    given,
                    category,
                )
            )
        parts = where, Parameter("unlabeled_category")
        warn(
            Message.of(
                f"No cell of {where} has the `unlabeled_category` {unlabeled_category!r}: all cells are learned from.", *parts
            )
        )
    types = [label for label in counts.index if label != unlabeled_category]
    if len(types) < 2:
        raise LabelError(
            Message.of(
                f"{where} has {len(types)} cell type{'' if len(types) == 1 else 's'} ({listing(types)}); at least "
                "two are needed to tell them apart. Is it the right column?",
                where,
            )
        )
    if len(types) > max(counts.loc[types].sum() / 2, _FEW):
        raise LabelError(
            Message.of(
                f"{where} has {len(types)} different labels in {counts.loc[types].sum()} cells: {listing(types, most=3)}. These are "
                "not cell types. Is it the right column?",
                where,
            )
        )
    check_label_names(types, where, confirmed)
    for doubt in values.doubts(dict(counts.loc[types]), str(where), meant):
        warn(Message.of(doubt, where))
    if values.are_codes(types) or pd.api.types.is_bool_dtype(labels.dtype):
        warn(
            Message.of(
                f"The labels in {where} look like numbers of clusters: {listing(types, most=5)}. They are learned as they are, "
                "and are meaningless in other data. Is it the right column?",
                where,
            )
        )
    return unlabeled_category


def check_label_names(types: Sequence[str], where: Either | str, confirmed: Iterable[str] = ()) -> None:
    """Refuse types under which results could not be stored."""
    if why := values.why_unwritable(types):
        raise LabelError(Message.of(f"Results could not be stored under the labels in {where}: {why}. Rename them.", where))
    meant = {label for label in confirmed if any(letter.isalnum() for letter in label)}
    if missing := [label for label in types if values.is_missing(label) and label not in meant]:
        raise LabelError(
            Message.of(
                f"{listing(map(repr, missing))} in {where} cannot be a cell type. Remove those cells, or rename the label.", where
            )
        )


def _find_missing(
    labels: pd.Series, counts: pd.Series, where: Either | str, unlabeled_category: str | None, confirmed: set[str]
) -> str | None:
    """The label that means "no label": the one that was given, or the only one that cannot be a type."""
    n_missing = int(labels.isna().sum())
    strings = [label for label in counts.index if values.is_missing(label) and label not in {unlabeled_category, *confirmed}]
    n_cells = n_missing + int(counts.loc[strings].sum())
    if len(strings) == 1 and not n_missing and unlabeled_category is None:
        given = Parameter("unlabeled_category", strings[0])
        warn(
            Message.of(
                f"{values.counted(strings, counts)} in {where} denotes a missing label: {n_cells} of {len(labels)} cells have no label "
                f"and are not learned from. Say so with {given}, or remove those cells.",
                where,
                given,
            )
        )
        return strings[0]
    if strings or n_missing:
        shown = ["NaN"] * bool(n_missing) + [f"{label!r} ({counts[label]})" for label in strings]
        raise LabelError(
            Message.of(
                f"{where} has no label ({', '.join(shown)}) for {n_cells} of {len(labels)} cells. Remove "
                "those cells, or give them a name of their own and pass it as `unlabeled_category`.",
                where,
                Parameter("unlabeled_category"),
            )
        )
    return unlabeled_category


def warn_about_types(names: pd.Series, labels: LabelSpace) -> None:
    """Name the types that have one cell only, and say what the Cell Ontology makes of the labels."""
    counts = names.value_counts()
    if single := sorted(counts.index[counts == 1]):
        warn(
            f"{len(single)} cell type{'s have' if len(single) > 1 else ' has'} only one cell and can barely be learned: {listing(single)}."
        )
    warn_about_ids(labels)


def warn_about_ids(labels: LabelSpace) -> None:
    """Name the labels that have no id, say how others were read, and which share an id."""
    for remark in labels.remarks():
        warn(remark)


def label_ids_in(setup: Mapping[str, object]) -> Mapping[str, str | None]:
    """Confirmed ids of a set-up, empty where there are none."""
    found = setup.get("label_ids")
    return found if isinstance(found, Mapping) else {}


def subtypes(labels: LabelSpace) -> NDArray[np.bool_]:
    """Matrix of labels and their subtypes, `(n_labels, n_labels)`, see :meth:`CellOntology.child_matrix`."""
    return labels.child_matrix(labels.ontology)


def corrected_macro_f1(truth: ArrayLike, predicted: ArrayLike, labels: LabelSpace) -> float:
    """Macro F1 in which a subtype of the truth is right, see :func:`sctab.metrics.correct_predictions`."""
    return macro_f1(truth, correct_predictions(truth, predicted, labels.names, subtypes(labels)))


def require_known_labels(names: Iterable[str], spec: ModelSpec) -> None:
    """Refuse data with types that a model does not know."""
    if unknown := sorted(set(names) - {spec.setup["unlabeled_category"]} - set(spec.labels.names)):
        raise LabelError(
            f"`adata` has cell types that the model does not know: {listing(unknown)}. Use `load_query_data`, which adds them."
        )
