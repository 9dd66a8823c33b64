"""Model cards: facts that are declared, scores that are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from sctab import model
from sctab.cards import (
    UNSEEN_FDR,
    CardFacts,
    CardFile,
    Confusion,
    DataSource,
    HeldOutScores,
    LabelScore,
    ModelCard,
    PromiseScore,
    check_facts,
    read_card,
    read_card_file,
    read_facts,
    score_cells_of,
    write_card_file,
)
from sctab.errors import InputValueError, SettingError
from sctab.inference import (
    Fingerprints,
    HeldOutCells,
    Predictor,
    beyond_chance,
    count_cells,
    load_predictor,
    sample_cells,
)
from sctab.io import as_path, held_in_turn, written_beside
from sctab.keys import CARD_FILE
from sctab.zoo._resolve import model_path

if TYPE_CHECKING:
    from mudata import MuData


__all__ = [
    "CardFacts",
    "Confusion",
    "DataSource",
    "HeldOutScores",
    "LabelScore",
    "ModelCard",
    "PromiseScore",
    "add_scores",
    "card_of",
    "write_card",
]


def card_of(directory: str | PathLike[str]) -> ModelCard:
    """Card of a stored model: what its directory tells, with facts and tests of its `card.json`.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble, or whatever else names one, see :func:`sctab.zoo.load`.

    Returns
    -------
    The card. Its `missing` lists what was not measured; nothing is filled in for it.

    Raises
    ------
    ModelNotFoundError
        If there is no such directory.
    ModelFormatError
        If the model is damaged, or if `card.json` belongs to other weights or was changed.
    SettingError
        If the sources state another number of training cells than the model learned.

    Examples
    --------
    >>> card = card_of("pbmc")
    >>> card.organism, card.n_cells, card.missing
    ('Homo sapiens', 6512, ())
    """
    return read_card(model_path(directory))


def write_card(
    directory: str | PathLike[str], *, facts: CardFacts | Mapping[str, Any] | str | PathLike[str] | None = None
) -> ModelCard:
    """Write the card of a stored model, `MODEL_CARD.md`, and what is declared on it, `card.json`, into its directory.

    Scores, calibration, promises, confusions and the training command are measured or read from the model. Only facts that nothing can
    measure are declared.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble.
    facts
        Licence, sources and limits, see :class:`CardFacts`, or a YAML file with them; by default those that were declared before.

    Returns
    -------
    The card.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model cannot be read, or `card.json` belongs to other weights.
    DataFileError, SettingError
        If facts cannot be read, or if the sources state another number of training cells than the model learned.
    OutputError
        If the files cannot be written.

    Examples
    --------
    >>> import sctab
    >>> card = sctab.zoo.write_card("my_model", facts="facts.yaml")  # doctest: +SKIP
    >>> card.missing  # doctest: +SKIP
    ()
    """
    path = as_path(directory)
    predictor = load_predictor(path, accelerator="cpu")
    declared = None if facts is None else read_facts(facts)
    with held_in_turn(path):
        file = read_card_file(path, predictor.sha256 or "")
        if declared is not None:
            file = replace(file, facts=declared)
            check_facts(file.facts, predictor.spec, path)
        return _write(path, predictor, file)


def add_scores(
    directory: str | PathLike[str],
    adata: AnnData | MuData,
    labels_key: str,
    *,
    name: str,
    donor_key: str | None = None,
    dataset_key: str | None = None,
    layer: str | None = None,
) -> HeldOutScores:
    """Score a stored model on labelled cells that it has not seen, and add the scores to its card.

    The model is used as it is, with its own calibration and promises. Cells that it has learned are recognised by their fingerprints, and
    refused.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble.
    adata
        Cells with labels of the model or finer ones, `(n_obs, n_vars)`. Cells with other labels do not count.
    labels_key
        Column of `adata.obs` with cell types.
    name
        Name of the data on the card. Scores of the same name are replaced.
    donor_key, dataset_key
        Columns of `adata.obs`, for scores of each donor or dataset.
    layer
        Layer with the counts, or `"X"` or `"raw"`; by default counts are detected.

    Returns
    -------
    The scores.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model cannot be read, or `card.json` belongs to other weights.
    KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
        If the cells cannot be used, or if the model has learned them.
    SettingError
        If the model holds clusters, which have no true labels, or if `name` is empty.
    OutputError
        If the card cannot be written.

    Examples
    --------
    >>> import sctab
    >>> sctab.zoo.add_scores("my_model", adata, "cell_type", name="other study", donor_key="donor_id")  # doctest: +SKIP
    """
    path = as_path(directory)
    if not name.strip() or not name.isprintable():
        raise SettingError(f"`name={name!r}` must be one line of text. Provide the name of the data.")
    predictor = load_predictor(path, accelerator="cpu")
    if predictor.spec.is_clustering:
        raise SettingError(f"`{path}` holds clusters, which have no true labels. Score a model of cell types.")
    read_card_file(path, predictor.sha256 or "")
    flagged = _check_cells(predictor, predictor.cells_of(adata), layer, name)
    cells = model.evaluate_unseen(predictor, adata, labels_key, donor_key, dataset_key, layer)
    if not len(cells.truth):
        raise InputValueError(
            f"No cell of {name!r} has a count in the genes of the model and a label that it knows. Check the data."
        )
    learned = HeldOutCells.from_arrays(predictor.arrays, predictor.spec)
    scores = replace(
        score_cells_of(cells, predictor.spec, name=name, learned_from=_nothing(cells) if learned is None else learned),
        flagged_unseen=flagged,
    )
    with held_in_turn(path):
        file = read_card_file(path, predictor.sha256 or "")  # another process may have added scores in the meantime
        others = tuple(each for each in file.tests if each.name != name)
        _write(path, predictor, replace(file, tests=(*others, scores)))
    return scores


def _check_cells(predictor: Predictor, adata: AnnData, layer: str | None, name: str) -> float | None:
    """Refuse cells that were learned; the fraction of the others that are reported as unseen."""
    query = predictor.open_query(adata, layer=layer)
    fingerprints = Fingerprints.from_arrays(predictor.arrays, n_genes=len(predictor.spec.features))
    if fingerprints is not None:
        learned = count_cells(query, fingerprints).is_learned
        n_learned = 0 if learned is None else int(np.count_nonzero(learned))
        if beyond_chance(n_learned, query.n_obs, fingerprints.false_positive_rate()):
            raise InputValueError(
                f"The model has learned {n_learned:,} of the {query.n_obs:,} cells of {name!r}. Scores on them would be too high. Provide "
                "cells that were not used for training."
            )
    test, note = predictor.unseen_test(query)
    if test is None or note:
        return None
    sampled = sample_cells(predictor, query, test, note)
    return sampled.n_unseen(UNSEEN_FDR) / sampled.n_cells if sampled.n_cells else None


def _nothing(cells: HeldOutCells) -> HeldOutCells:
    """No cells, of a model that was not calibrated."""
    members = replace(cells.members, **{name: values[:0] for name, values in vars(cells.members).items()})
    return replace(cells, members=members, truth=cells.truth[:0], is_known=cells.is_known[:0], units=cells.units[:0], reduced={})


def _write(path: Path, predictor: Predictor, file: CardFile) -> ModelCard:
    write_card_file(path, predictor.sha256 or "", file)
    card = read_card(path)
    with written_beside(path / CARD_FILE, overwrite=True) as beside:
        beside.write_text(card.to_markdown(), encoding="utf-8", newline="\n")
    return card
