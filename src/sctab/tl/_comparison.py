"""Known and predicted labels as types of one ontology, numbered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import agreeing, listing
from sctab.get import Annotation
from sctab.metrics import SharedLevel, scores_per_type
from sctab.ontology import LabelSpace, label_values as values, unused

SHARED, LABELLED, CORRECTED = "shared", "as labelled", "corrected"
"""Levels at which labels are compared."""
NO_LABEL = "no label"
"""Predicted label of cells without a prediction, in a table of confusion."""


@dataclass(frozen=True)
class Comparison:
    """Known and predicted labels as numbers of types.

    Each label of the model is a type. A known label is the type of the model's label of that name, or that alone has its id; other
    known labels are one type where they have one id, and a type of its own each where they have none. A type whose name is that of a
    label of the model already has its id in its name.

    Attributes
    ----------
    names
        What each type is called: from the model, the ontology or the annotator.
    ids
        Id of each type in the ontology; `""` where it has none.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes. Labels of the model that share an id are not the same.
    columns
        Type of each label of the model, `(n_labels,)`.
    truth, predicted
        Type of each cell, `(n_obs,)`; -1 where it is missing.
    notes
        Sentences on labels that were not found as they are.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]
    child_matrix: NDArray[np.bool_]
    columns: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Return whether a type or one of its subtypes is a label of the model, `(n_types,)`."""
        return self.child_matrix[:, self.columns].any(axis=1)

    @property
    def is_finer(self) -> NDArray[np.bool_]:
        """Return whether a type is a subtype of a label of the model, `(n_types,)`."""
        return self.child_matrix[self.columns].any(axis=0) & ~self.is_known

    def shared_level(self, cells: NDArray[np.bool_]) -> SharedLevel:
        """The level of detail that both sides share.

        A type of which the model knows itself or a subtype is compared as it is, and subtypes are right. A finer one is compared as the
        model's closest type above it. That is right, and so are its subtypes for which the annotator had no name.

        Parameters
        ----------
        cells
            Those that are scored, `(n_obs,)`: their types are those that the annotator had names for.
        """
        below, n_types = self.child_matrix, len(self.names)
        codes, is_right = np.arange(n_types), below.copy()
        named = np.unique(self.truth[cells])
        for code in np.flatnonzero(self.is_finer):
            above = self.columns[below[self.columns, code]]
            closest = [other for other in above if not (below[other, above] & (above != other)).any()]
            is_right[code, closest] = True
            for other in closest:
                finer = named[below[other, named] & (named != other)]
                named_beside = below[:, finer].any(axis=1) | below[finer].any(axis=0)
                is_right[code] |= below[other] & ~named_beside
            codes[code] = max(closest, key=lambda other: (below[:, other].sum(), -other))
        return SharedLevel(codes, is_right)

    def sharing_an_id(self) -> dict[str, NDArray[np.int64]]:
        """Labels of the model, as types, of each id that several have."""
        ids = np.array(self.ids, dtype=object)[self.columns]
        return {term: self.columns[ids == term] for term in dict.fromkeys(ids) if term and (ids == term).sum() > 1}

    def levels(self, cells: NDArray[np.bool_], shared: SharedLevel) -> pd.DataFrame:
        """As what each known type is compared at the shared level."""
        codes, counts = np.unique(self.truth[cells], return_counts=True)
        is_label = np.isin(codes, self.columns)
        how = np.select(
            [is_label, self.is_known[codes], self.is_finer[codes]], ["the same", "coarser", "finer"], default="unknown to the model"
        )
        names, ids = np.array(self.names, dtype=object), np.array(self.ids, dtype=object)
        return pd.DataFrame(
            {"type": names[codes], "id": ids[codes], "cells": counts, "compared_as": names[shared.codes[codes]], "level": how}
        )

    def per_type(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> pd.DataFrame:
        """Scores of every type that is known or predicted of some cell."""
        codes = np.unique(np.concatenate([truth, predicted[predicted >= 0]]))
        scores = scores_per_type(truth, predicted, types=codes.astype(str).tolist()).reset_index(drop=True)
        scores["recall"] = scores["recall"].where(scores["cells"] > 0)
        scores.insert(0, "type", np.array(self.names, dtype=object)[codes])
        scores.insert(1, "id", np.array(self.ids, dtype=object)[codes])
        scores["predicted"] = np.bincount(predicted[predicted >= 0], minlength=len(self.names))[codes]
        return scores

    def confusion(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> pd.DataFrame:
        """Count the cells of each pair of a known and a predicted type; cells without a prediction are predicted as `NO_LABEL`."""
        names = np.array([*self.names, NO_LABEL], dtype=object)
        pairs, cells = np.unique(np.stack([truth, np.where(predicted < 0, len(self.names), predicted)]), axis=1, return_counts=True)
        return pd.DataFrame({"type": names[pairs[0]], "predicted": names[pairs[1]], "cells": cells})


def compare_labels(
    truth: pd.Series,
    predicted: pd.Series,
    annotation: Annotation,
    *,
    label_ids: Mapping[str, str | None] | None = None,
    tissues: Iterable[str] = (),
) -> Comparison:
    """Number the types of known and predicted labels, `(n_obs,)`.

    Parameters
    ----------
    truth, predicted
        Labels. Known ones that denote a missing value, such as `nan`, are missing.
    annotation
        Labels of the model, and the ontology.
    label_ids
        Ids of known labels that are confirmed.
    tissues
        Where the cells are from, see :meth:`sctab.ontology.LabelSpace.from_names`.
    """
    ontology, label_ids = annotation.ontology, label_ids or {}
    of_model = {name: i for i, name in enumerate(annotation.names)}
    theirs = sorted({str(label) for label in truth.dropna().unique()})
    absent = unused(label_ids, theirs, "the known labels")
    missing = [label for label in theirs if values.is_missing(label) and label not in of_model and label not in label_ids]
    theirs = [label for label in theirs if label not in missing]
    known = LabelSpace.from_names(theirs, ontology, label_ids=label_ids, tissues=tissues)
    id_of = dict(zip(known.names, known.ids, strict=True))
    model_ids = [term if ontology.name(term) else None for term in annotation.terms]
    looked_up = [
        label
        for label in theirs
        if label not in of_model or (label in label_ids and id_of[label] not in (None, model_ids[of_model[label]]))
    ]
    alone = {term: i for i, term in enumerate(model_ids) if term and model_ids.count(term) == 1}

    ids, names, code_of = list(model_ids), list(annotation.names), dict(of_model)
    for label in looked_up:
        term = id_of[label]
        if term in alone:
            code_of[label] = alone[term]
            continue
        code = next((i for i in range(len(model_ids), len(ids)) if term is not None and ids[i] == term), len(ids))
        if code == len(ids):
            name = (ontology.name(term) if term else None) or label
            ids.append(term)
            names.append(f"{name} ({term})" if name in names else name)
        code_of[label] = code

    n_labels = len(of_model)
    child_matrix = ontology.child_matrix(ids)
    child_matrix[:n_labels, :n_labels] = LabelSpace(annotation.names, tuple(model_ids)).child_matrix(ontology)

    def codes(labels: pd.Series, code_of: Mapping[str, int]) -> NDArray[np.int64]:
        as_codes = {label: code_of.get(str(label), -1) for label in labels.dropna().unique()}
        return labels.astype(object).map(as_codes).fillna(-1).to_numpy(dtype=np.int64)

    return Comparison(
        names=tuple(names),
        ids=tuple(term or "" for term in ids),
        child_matrix=child_matrix,
        columns=np.arange(n_labels),
        truth=codes(truth, code_of),
        predicted=codes(predicted, code_of | of_model),
        notes=tuple(
            [absent] * bool(absent)
            + _notes(
                theirs, looked_up, missing, known, annotation, model_ids, [label for label in theirs if ids[code_of[label]] is None]
            )
        ),
    )


def _notes(
    theirs: Sequence[str],
    looked_up: Sequence[str],
    missing: Sequence[str],
    known: LabelSpace,
    annotation: Annotation,
    model_ids: Sequence[str | None],
    without_id: Sequence[str],
) -> list[str]:
    """Sentences on labels that were not found as they are."""
    notes = known.readings("known labels", looked_up)
    version = annotation.ontology.version
    without = {
        "known labels": (theirs, without_id),
        "labels of the model": (
            annotation.names,
            [name for name, term in zip(annotation.names, model_ids, strict=True) if term is None],
        ),
    }
    for whose, (labels, unknown) in without.items():
        if unknown:
            notes.append(
                f"{len(unknown)} of {len(labels)} {whose} {agreeing(len(unknown), 'is', 'are')} not in the Cell Ontology ({version}) and "
                f"{agreeing(len(unknown), 'is', 'are')} compared by name: {listing(unknown)}. "
                f"{known.why_without_id() if labels is theirs else ''}".rstrip()
            )
    if missing:
        notes.append(f"Known labels that denote a missing label: {', '.join(map(repr, missing))}. Their cells do not count.")
    if doubtful := [label for label in looked_up if values.says_no_type(label)]:
        notes.append(
            f"Known labels that say that no type is known: {listing(doubtful)}. No label is right for their cells; remove the label from "
            "cells that should not count."
        )
    return notes
