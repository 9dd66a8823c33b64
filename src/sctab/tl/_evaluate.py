"""Score an annotation against known labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import KeyNotFoundError, LabelError, Message, Parameter, agreeing, listing, missing_key, place, warn
from sctab.get import Annotation, read_annotation
from sctab.keys import DEFAULT_KEY_ADDED, OBS_LABEL, OBS_UNCERTAINTY, OBSM_PROBABILITIES, UNS_EVALUATION, check_key_added
from sctab.metrics import abstention, correct_codes, overall_scores, reliability, scores_per_group
from sctab.ontology import CellOntology, label_ids_from, tissues_of
from sctab.tl._comparison import CORRECTED, LABELLED, SHARED, Comparison, compare_labels
from sctab.tl._printed import print_scores
from sctab.tl._term_scores import score_terms
from sctab.tl._unseen_scores import numbers_of, score_unseen

_MANY = 10
"""Cells that a type must have to be worth a note."""
_IS_CORRECTED = {SHARED: pd.NA, LABELLED: False, CORRECTED: True}
_LEVEL_OF = {is_it: level for level, is_it in _IS_CORRECTED.items()}


def evaluate(
    adata: AnnData,
    labels_key: str,
    *,
    key_added: str = DEFAULT_KEY_ADDED,
    group_keys: str | Sequence[str] = (),
    donor_key: str | None = None,
    ontology: CellOntology | None = None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
    only_known: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    show: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Score an annotation against known labels, at the shared level of detail and strictly.

    Every score is computed three times. At the shared level, known labels that are finer than the model's are compared as the model's
    closest type above them, and for coarser ones the model's subtypes are right. As labelled, only the same label is right. Corrected as in
    Fischer et al. (2023), a subtype of the known label is right and a parent is wrong, even for labels finer than all of the model's.
    Promised terms and reports of unseen types are scored as well. :doc:`/evaluating` explains the scores.

    Parameters
    ----------
    adata
        Cells annotated by :func:`annotate`.
    labels_key
        Column of `adata.obs` with known labels: labels of the model, names or ids of the Cell Ontology, or common spellings of them, see
        :meth:`sctab.ontology.CellOntology.resolve`. Cells without one (NaN, or a string such as `nan`) are ignored; cells without a
        predicted label are wrong.
    key_added
        Prefix of the annotation, and of the results. If the probabilities were deleted, only labels are scored.
    group_keys
        Columns of `adata.obs` whose groups are scored separately, such as tissue, donor or assay.
    donor_key
        Column of `adata.obs` with donors, for intervals over donors instead of cells, and for the error of promised terms over donors.
    ontology
        The Cell Ontology; by default the release that the model used, or the newest if that is not embedded.
    label_ids
        Cell Ontology ids of known labels, by label, or a file of them, see :func:`sctab.ontology.read_label_map`. They take precedence.
    only_known
        Exclude cells of types that are neither labels of the model nor above one, at every level. By default they count.
    n_bootstrap
        Bootstrap draws for the intervals; 0 for none.
    seed
        Random seed of the draws.
    show
        Print the scores: at the shared level, as labelled, and corrected.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following field:

    `adata.uns['{key_added}_evaluation']` : dict
        Tables, see :func:`sctab.get.evaluation`; what was compared, the release of the ontology, and notes.

    Raises
    ------
    KeyNotFoundError
        If a column does not exist, or if the cells are not annotated.
    LabelError
        If no cell remains to score, if no known label is a label of the model or in the ontology, or if a cell has no donor.

    References
    ----------
    Fischer et al., Scaling cross-tissue single-cell annotation models, 2023, :doi:`10.1101/2023.10.07.561331`.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["author"] = adata.obs["bulk_labels"].map({"CD19+ B": "B cell", "CD14+ Monocyte": "monocyte"})
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.evaluate(adata, "author", show=False)
    >>> scores = sctab.get.evaluation(adata).query("level == 'shared'").set_index("metric")
    >>> int(scores.loc["accuracy", "cells"]), bool(scores.loc["accuracy", "value"] > 0.9)
    (224, True)
    """
    check_key_added(key_added)
    require_cells(adata)
    require_writable(adata, copy=copy)
    annotation = read_annotation(adata, key_added, ontology)
    group_keys = [group_keys] if isinstance(group_keys, str) else list(group_keys)
    truth = _column(adata, labels_key, "labels_key")
    groups = {key: _column(adata, key, "group_keys") for key in group_keys}
    donors = None if donor_key is None else _column(adata, donor_key, "donor_key")
    comparison = compare_labels(
        truth,
        _column(adata, f"{key_added}_{OBS_LABEL}", "key_added"),
        annotation,
        label_ids=None if label_ids is None else label_ids_from(label_ids, annotation.ontology),
        tissues=tissues_of(adata.obs),
    )
    _require_comparable(comparison, labels_key, annotation)
    cells, notes = _cells_to_score(comparison, labels_key, only_known=only_known)
    if annotation.probabilities is None:
        notes.append(
            Message(
                place(f"obsm['{key_added}_{OBSM_PROBABILITIES}']"),
                " no longer exists: `cross_entropy`, `brier` and `ece` are omitted.",
            )
        )
    if donors is not None and (n_without := int(donors[cells].isna().sum())):
        raise LabelError(
            place(f"obs[{donor_key!r}]"),
            f" has no donor (NaN) for {n_without} of {int(cells.sum())} cells that are scored. Fill them in, or omit `donor_key`.",
        )

    terms, note = score_terms(
        adata,
        comparison,
        annotation,
        cells,
        donors=donors,
        key_added=key_added,
        n_bootstrap=n_bootstrap,
        rng=np.random.default_rng(seed),
    )
    unseen = score_unseen(adata.obs, comparison, cells, key_added)
    known, predicted = comparison.truth[cells], comparison.predicted[cells]
    _column(adata, f"{key_added}_{OBS_UNCERTAINTY}", "key_added")
    uncertainty = numbers_of(adata.obs, f"{key_added}_{OBS_UNCERTAINTY}")[cells]
    shared = comparison.shared_level(cells)
    scores = overall_scores(
        known,
        predicted,
        comparison.child_matrix,
        probabilities=None if annotation.probabilities is None else annotation.probabilities[cells],
        columns=comparison.columns,
        uncertainty=uncertainty,
        shared=shared,
        donors=None if donors is None else donors[cells].astype(str),
        n_bootstrap=n_bootstrap,
        rng=np.random.default_rng(seed),
    )
    overall = _at_levels([scores])
    corrected = correct_codes(known, predicted, comparison.child_matrix)
    compared = {SHARED: shared.correct(known, predicted), LABELLED: (known, predicted), CORRECTED: (known, corrected)}
    levels = comparison.levels(cells, shared)
    confidence = 1 - uncertainty if annotation.probabilities is None else annotation.probabilities[cells].max(axis=1)
    confidence = np.where(np.isnan(confidence), 1 / len(annotation.names), confidence)
    notes += [
        *_notes_on_shared_ids(comparison, known, predicted),
        _note_on_learned(adata.uns[key_added]),
        _note_on_levels(levels, overall),
        _note_on_subtypes(comparison, known, predicted, corrected),
        _note_on_named_subtypes(comparison, known, predicted, shared.correct(known, predicted)),
        note,
    ]
    result: dict[str, Any] = {
        "labels_key": labels_key,
        "donor_key": donor_key or "",
        "ontology_version": annotation.ontology.version,
        "only_known": only_known,
        "n_bootstrap": n_bootstrap,
        "seed": seed,
        "notes": [note for note in (annotation.note, *comparison.notes, *notes) if note],
        "overall": overall,
        "types": _at_levels(
            comparison.per_type(theirs, ours).assign(corrected=_IS_CORRECTED[level]) for level, (theirs, ours) in compared.items()
        ),
        "levels": levels,
        "confusion": _at_levels(
            comparison.confusion(theirs, ours).assign(corrected=_IS_CORRECTED[level]) for level, (theirs, ours) in compared.items()
        ),
        "reliability": _at_levels(
            reliability(confidence, theirs == ours).assign(corrected=_IS_CORRECTED[level])
            for level, (theirs, ours) in compared.items()
        ),
        "abstention": _at_levels(
            abstention(confidence, theirs == ours).assign(corrected=_IS_CORRECTED[level])
            for level, (theirs, ours) in compared.items()
        ),
        **({} if terms is None else {"promise": terms}),
        **({} if unseen is None else {"unseen": unseen}),
    }
    if groups:
        result["groups"] = _at_levels(
            scores_per_group(theirs, ours, group[cells]).reset_index().assign(key=key, corrected=_IS_CORRECTED[level])
            for key, group in groups.items()
            for level, (theirs, ours) in compared.items()
        )
    target = target_of(adata, copy=copy)
    target.uns[f"{key_added}_{UNS_EVALUATION}"] = result
    for note in result["notes"]:
        warn(note)
    if show:
        print_scores(result, adata.uns[key_added])
    return target if copy else None


def _column(adata: AnnData, key: str, parameter: str) -> pd.Series:
    if key not in adata.obs:
        if parameter == "key_added":  # is a part of the name
            raise KeyNotFoundError(f"`{key}` of ", Parameter(parameter), " is not in ", place("obs"), ". Annotate the cells again.")
        raise missing_key(parameter, key, adata.obs.columns)
    return adata.obs[key]


def _require_comparable(comparison: Comparison, labels_key: str, annotation: Annotation) -> None:
    """Refuse labels of which none could be right, such as numbers of clusters; a column without labels is refused later."""
    codes = np.unique(comparison.truth[comparison.truth >= 0])
    if len(codes) and not any(comparison.ids[code] or code in comparison.columns for code in codes):
        raise LabelError(
            f"None of the {len(codes)} different labels in ",
            place(f"obs[{labels_key!r}]"),
            " is a label of the model or in the Cell Ontology "
            f"({annotation.ontology.version}), so no cell could be right: {listing(comparison.names[code] for code in codes)}. Name a "
            "column of cell types, or translate its labels to names of the Cell Ontology or to labels of the model: "
            f"{listing(annotation.names)}.",
        )


def _cells_to_score(comparison: Comparison, labels_key: str, *, only_known: bool) -> tuple[NDArray[np.bool_], list[str]]:
    """Mask of the cells to score, `(n_obs,)`, with notes on excluded cells and on cells that cannot be right."""
    labelled = comparison.truth >= 0
    notes: list[str] = []
    if n_without := int((~labelled).sum()):
        notes.append(
            Message(
                f"{n_without} of {len(labelled)} cells {agreeing(n_without, 'has', 'have')} no label in ",
                place(f"obs[{labels_key!r}]"),
                f" and {agreeing(n_without, 'does', 'do')} not count.",
            )
        )
    unknown = labelled & ~comparison.is_known[comparison.truth]
    if unknown.any():
        codes = np.unique(comparison.truth[unknown])
        finer = labelled & comparison.is_finer[comparison.truth]
        without = Parameter("only_known", value=True)
        told = (
            f"{int(unknown.sum())} of {int(labelled.sum())} cells {agreeing(int(unknown.sum()), 'is', 'are')} of "
            f"{agreeing(len(codes), 'a type that is', 'types that are')} neither a label of the model nor a parent of one: "
            f"{listing(comparison.names[code] for code in codes)}. "
            + ("They do not count." if only_known else f"As labelled, they count as wrong; {without} leaves them out.")
            + (
                f" {int(finer.sum())} of them {agreeing(int(finer.sum()), 'is', 'are')} of subtypes of its labels, "
                "compared with the broader label at the shared level."
                if finer.any() and not only_known
                else ""
            )
        )
        notes.append(Message.of(told, without))
    cells = labelled & ~unknown if only_known else labelled
    if not cells.any():
        raise LabelError(place(f"obs[{labels_key!r}]"), f" has no label to compare with. {' '.join(notes)}")
    return cells, notes


def _note_on_learned(run: Mapping[str, Any]) -> str:
    """A sentence on cells that the model was trained on; `""` where there are none."""
    if (learned := run.get("learned")) is None:
        return ""
    return (
        f"The training data of the model holds {int(learned['n_learned']):,} of {int(learned['n_cells']):,} cells that were looked at. "
        "These scores are too high, and say nothing about new cells."
    )


def _note_on_levels(levels: pd.DataFrame, overall: pd.DataFrame) -> str:
    """A sentence on labels that are compared as coarser ones, and what that means for the accuracy; `""` where there are none."""
    finer = levels[levels["level"] == "finer"].sort_values("cells", ascending=False, kind="stable")
    if finer.empty:
        return ""
    accuracy = overall[overall["metric"] == "accuracy"].set_index("level")["value"]
    told = [f"`{row.type}` as `{row.compared_as}`" for row in finer.itertuples()]
    return (
        f"{len(finer)} of {len(levels)} known types {'is' if len(finer) == 1 else 'are'} finer than the model's labels. "
        "At the level that both share, accuracy is "
        f"{accuracy[SHARED]:.3f}, and {accuracy[LABELLED]:.3f} as labelled. Compared are {_first(told, most=8)}."
    )


def _notes_on_shared_ids(comparison: Comparison, known: NDArray[np.integer], predicted: NDArray[np.integer]) -> list[str]:
    """Notes on model labels that share a term of the ontology."""
    notes = []
    for term, labels in comparison.sharing_an_id().items():
        is_one = np.isin(known, labels)
        is_term = ~is_one & (np.array(comparison.ids, dtype=object)[known] == term)
        note = (
            f"The model's labels {listing(comparison.names[code] for code in labels)} share the id `{term}`, so that the Cell Ontology "
            "cannot tell them apart, and are compared by name."
        )
        if n_swapped := int((is_one & np.isin(predicted, labels) & (known != predicted)).sum()):
            note += (
                f" {n_swapped} of {int(is_one.sum())} cells of these types {agreeing(n_swapped, 'is', 'are')} called "
                "another one of them, which counts as wrong at every level. If the "
                "labels are names of one type, give them one name and train again."
            )
        if is_term.any():
            note += (
                f" {int(is_term.sum())} of {len(known)} cells {agreeing(int(is_term.sum()), 'is', 'are')} known as this type "
                "by another name: as labelled, none of the labels is right for them; at the shared level and corrected, each is."
            )
        notes.append(note)
    return notes


def _note_on_subtypes(
    comparison: Comparison, known: NDArray[np.integer], predicted: NDArray[np.integer], corrected: NDArray[np.integer]
) -> str:
    """A sentence on types that no cell is called, and most of whose cells count as right as subtypes; `""` where there are none."""
    cells = pd.Series(known).value_counts()
    told_of = comparison.sharing_an_id()
    never = [
        code
        for code in cells.index[(cells >= _MANY) & ~cells.index.isin(predicted)]
        if (corrected[known == code] == code).mean() > 0.5 and comparison.ids[code] not in told_of
    ]
    if not never:
        return ""

    def described(code: int) -> str:
        called = pd.Series(predicted[known == code]).value_counts()
        names = [f"`{comparison.names[other]}` ({n})" if other >= 0 else f"nothing ({n})" for other, n in called.items()]
        return f"`{comparison.names[code]}`, whose {cells[code]} cells are called {_first(names, most=3)}"

    return (
        f"{len(never)} known type{'s were' if len(never) > 1 else ' was'} never predicted, and the corrected scores count subtypes as "
        f"right: {_first([described(code) for code in never], most=5, separator='; ')}."
    )


def _note_on_named_subtypes(
    comparison: Comparison, known: NDArray[np.integer], predicted: NDArray[np.integer], compared: tuple[NDArray[np.integer], ...]
) -> str:
    """A sentence on cells that count as right and are called a subtype that others were labelled as; `""` where there are few."""
    accepted = (known != predicted) & (compared[0] == compared[1]) & np.isin(predicted, np.unique(known))
    pairs = pd.DataFrame({"known": known[accepted], "predicted": predicted[accepted]}).value_counts()
    pairs = pairs[pairs >= _MANY]
    if pairs.empty:
        return ""
    told = [
        f"{n} of `{comparison.names[type_]}` that are called `{comparison.names[called]}`" for (type_, called), n in pairs.items()
    ]
    return (
        f"At the shared level and corrected, a subtype counts as right although other cells are labelled as it: {_first(told, most=5)}. "
        "As labelled, these cells are wrong."
    )


def _first(types: Sequence[str], *, most: int, separator: str = ", ") -> str:
    """The first types, and how many others there are."""
    rest = len(types) - most
    return separator.join(types[:most]) + (f" and {rest} other type{'s' * (rest > 1)}" if rest > 0 else "")


def _at_levels(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, what a row is about before its numbers."""
    table = pd.concat(tables, ignore_index=True)
    table["corrected"] = table["corrected"].astype("boolean")
    table["level"] = [_LEVEL_OF[is_it] for is_it in table["corrected"]]
    first = ("key", "group", "type", "id", "metric", "level", "corrected", *(() if "metric" in table else ("cells", "predicted")))
    columns = [column for column in first if column in table]
    return table[[*columns, *(column for column in table if column not in columns)]]
