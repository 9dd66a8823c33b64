"""Labelled cells of a query: whether to train on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sctab.errors import Either, KeyNotFoundError, Message, Parameter, did_you_mean, listing, place
from sctab.inference import Choice, ModelSpec, best_choice
from sctab.ontology import LabelSpace, label_values


@dataclass(frozen=True, kw_only=True)
class LabelledCells:
    """Cells of a query whose type somebody knows, and what they are good for."""

    labels_key: str
    n_cells: int
    """Cells with a label."""
    n_types: int
    """Different labels."""
    n_per_type: float
    """Cells of a type, by the median over types."""
    unknown: tuple[str, ...]
    """Labels that the model has under no name, the most frequent first."""
    choice: Choice
    """Model that is expected to annotate the query best."""

    @classmethod
    def of(cls, obs: pd.DataFrame, labels_key: str, spec: ModelSpec, *, coverage: float, has_sketch: bool) -> LabelledCells:
        """Count labelled cells.

        Parameters
        ----------
        obs
            Cells of the query.
        labels_key
            Column with their labels; missing where nobody knows.
        spec
            The model.
        coverage, has_sketch
            As for :func:`~sctab.inference.best_choice`.

        Raises
        ------
        KeyNotFoundError
            If there is no such column.
        """
        if labels_key not in obs:
            raise KeyNotFoundError(
                Parameter("labels_key", labels_key), " is not in ", place("obs"), did_you_mean(labels_key, obs.columns), "."
            )
        labels = obs[labels_key].dropna().astype(str)
        counts = labels.value_counts()
        counts = counts[[not (label_values.is_missing(label) or label_values.says_no_type(label)) for label in counts.index]]
        ids = LabelSpace.from_names(list(counts.index), spec.labels.ontology).ids
        terms = {term for term in spec.labels.ids if term is not None}
        unknown = tuple(
            label for label, term in zip(counts.index, ids, strict=True) if label not in spec.labels.names and term not in terms
        )
        n_per_type = float(np.median(counts)) if len(counts) else 0.0
        return cls(
            labels_key=labels_key,
            n_cells=int(counts.sum()),
            n_types=len(counts),
            n_per_type=n_per_type,
            unknown=unknown,
            choice=best_choice(
                coverage, has_sketch=has_sketch, n_labelled=n_per_type, knows_types=len(unknown) < max(len(counts), 1)
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"unknown": list(self.unknown), "choice": str(self.choice)}

    @property
    def note(self) -> Message | str:
        """Sentence on how to use these labels; empty where it is better not to."""
        where = place(f"obs[{self.labels_key!r}]")
        if self.choice is Choice.FROM_SCRATCH:
            return Message(
                f"The model has learned none of the {self.n_types} types in ",
                where,
                f": {listing(self.unknown)}. Train a new model on these cells.",
            )
        if self.choice is Choice.FINE_TUNE:
            return Message(
                f"{self.n_per_type:.0f} labelled cells of each type in ",
                where,
                " are enough to improve the model. Adapt it to them with ",
                Either("`load_query_data(…, unfrozen=True)`", "`load_query_data(…, unfrozen=True)` in Python"),
                " and train it.",
            )
        return ""
