"""Labels that can occur in a query: probabilities of the others are excluded, and a cell whose evidence lies there is not forced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sctab.errors import Message, Parameter, SettingError, did_you_mean, listing
from sctab.ontology import LabelSpace

MOST_EXCLUDED = 0.5
"""Probability of excluded labels above which a cell gets no label: it is more likely of a type that cannot occur."""
_TISSUE = "tissue:"


@dataclass(frozen=True)
class Expected:
    """Labels of a model that can occur in a query."""

    allowed: NDArray[np.bool_]
    """`(n_labels,)`."""
    requested: tuple[str, ...]
    """Names, ids and terms as they were given."""
    notes: tuple[str, ...] = ()
    """Sentences on types that the model lacks, and on how names were read."""

    @classmethod
    def of(cls, labels: LabelSpace, requested: str | Sequence[str]) -> Self:
        """Find the labels of a model that are expected types or subtypes of them.

        A type that is finer than all labels of the model expects the closest labels above it.

        Parameters
        ----------
        labels
            Labels of the model.
        requested
            Labels, and names, synonyms or ids of the Cell Ontology.

        Raises
        ------
        SettingError
            If there is none, if one is neither a label of the model nor a type of the ontology or is a tissue, or if the model has none of
            the types.
        """
        names = tuple([requested] if isinstance(requested, str) else requested if isinstance(requested, Iterable) else ())
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise SettingError(Parameter("labels", requested), " must be names of types that can occur, such as `T cell`.")
        if tissues := [name for name in names if name.lower().startswith(_TISSUE)]:
            raise SettingError(
                Parameter("labels", tissues[0]),
                " is a tissue, and the embedded releases of the Cell Ontology do not say which types occur in which tissue. Name the "
                "types that can occur, or terms above them, such as `epithelial cell` and `leukocyte`. Labels of the model: "
                f"{listing(labels.names)}.",
            )
        return cls._of_names(labels, tuple(dict.fromkeys(names)))

    @classmethod
    def _of_names(cls, labels: LabelSpace, names: Sequence[str]) -> Self:
        ontology, kinds = labels.ontology, labels.child_matrix(labels.ontology)
        by_spelling = {name.strip().casefold(): code for code, name in reversed([*enumerate(labels.names)])}
        codes = {name: code for code, name in enumerate(labels.names)}
        codes = {name: codes.get(name, by_spelling.get(name.strip().casefold(), -1)) for name in names}
        others = [name for name in names if codes[name] < 0]
        read = LabelSpace.from_names([*labels.names, *others], ontology) if others else LabelSpace((), ())
        terms = dict(zip(others, read.ids[len(labels) :], strict=True))
        told = {note.split("`")[1]: note for note in read.notes if note}
        allowed = np.zeros(len(labels), dtype=bool)
        unknown, absent, broader = [], [], []
        for name in names:
            if codes[name] >= 0:
                allowed |= kinds[codes[name]]
            elif (term := terms[name]) is None:
                unknown.append(name)
            elif (
                own := np.array([label is not None and ontology.is_kind_of(label, term) for label in labels.ids], dtype=bool)
            ).any():
                allowed |= own
            elif len(above := _closest_above(labels, term)):
                allowed[above] = True
                broader.append(f"`{name}` as {listing(labels.names[code] for code in above)}")
            else:
                absent.append(name)
        if unknown:
            raise SettingError(_why_unknown(unknown, labels, told))
        if not allowed.any():
            raise SettingError(
                Parameter("labels"),
                f" names {listing(absent)}, and the model has no label for {'it' if len(absent) == 1 else 'any of them'}. "
                f"Use a model that has, or name other types. Labels of the model: {listing(labels.names)}.",
            )
        notes = [f"Expected labels: {told[name]}" for name in others if name in told]
        if broader:
            notes.append(
                f"The model has only broader labels for {len(broader)} of {len(names)} expected types: {', '.join(broader)}."
            )
        if absent:
            notes.append(
                f"The model has no label for {len(absent)} of {len(names)} expected types, and cells of them get none that is right: "
                f"{listing(absent)}."
            )
        without = [name for name, term, is_in in zip(labels.names, labels.ids, allowed, strict=True) if term is None and not is_in]
        if without and others:
            notes.append(
                "Labels of the model without a Cell Ontology id are below no term, and are excluded unless they are named: "
                f"{listing(without)}."
            )
        return cls(allowed, tuple(names), tuple(notes))

    def names(self, labels: LabelSpace) -> list[str]:
        """Labels that are expected, in the order of the model."""
        return [name for name, is_in in zip(labels.names, self.allowed, strict=True) if is_in]


def restrict(
    probabilities: NDArray[np.floating], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Restrict probabilities to some labels, and renormalise them.

    Parameters
    ----------
    probabilities
        `(n_obs, n_labels)`; rows sum to one.
    allowed
        Labels that can occur, `(n_labels,)`.

    Returns
    -------
    Probabilities, NaN for the cells of the third; the excluded mass; and cells more than half of whose mass was excluded, `(n_obs,)`. Among
    what little is left of them, one label may have any share: renormalised, it would look like confidence.
    """
    excluded = probabilities[:, ~allowed].sum(axis=1, dtype=np.float64)
    if allowed.all():
        return probabilities, excluded.astype(probabilities.dtype), np.zeros(len(excluded), dtype=bool)
    kept = np.where(allowed, probabilities, 0)
    mass = kept.sum(axis=1, dtype=np.float64)
    outside = excluded > MOST_EXCLUDED
    with np.errstate(divide="ignore", invalid="ignore"):
        restricted = (kept / mass[:, None]).astype(probabilities.dtype)
    restricted[outside] = np.nan
    return restricted, excluded.astype(probabilities.dtype), outside


def _closest_above(labels: LabelSpace, term: str) -> list[int]:
    """Labels that a term is a kind of and that have no other such label below them."""
    ontology = labels.ontology
    above = [code for code, label in enumerate(labels.ids) if label is not None and label in ontology.ancestors(term)]
    ids = {labels.ids[code] for code in above}
    return [code for code in above if not any(labels.ids[code] in ontology.ancestors(str(other)) for other in ids)]


def _why_unknown(unknown: Sequence[str], labels: LabelSpace, told: dict[str, str]) -> Message:
    near = " ".join(told[name] for name in unknown if name in told)
    return Message(
        Parameter("labels"),
        f" names {listing(unknown)}, which {'is' if len(unknown) == 1 else 'are'} neither a label of the model nor certain in the Cell "
        f"Ontology ({labels.ontology.version}).{f' {near}' if near else did_you_mean(unknown[0], labels.names)} Labels of the model: "
        f"{listing(labels.names)}.",
    )
