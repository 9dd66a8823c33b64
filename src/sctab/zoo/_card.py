"""Model cards: what was measured of a model, what its authors declare, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from sctab.errors import SettingError
from sctab.inference import Fingerprints, HeldOutCells, ModelSpec, Predictor, load_predictor, types_of_arrays
from sctab.keys import CARD_FACTS_FILE, REFERENCE_FILE, SPEC_FILE, WEIGHTS_FILE
from sctab.zoo._card_content import CardContent
from sctab.zoo._card_file import CardFile, read_card_file
from sctab.zoo._card_markdown import card_as_markdown
from sctab.zoo._card_scores import reported_unseen, score_cells_of
from sctab.zoo._facts import CardFacts
from sctab.zoo._resolve import model_path

_HELD_OUT = "held-out cells of the reference"


class ModelCard(CardContent):
    """Card of a stored model. Numbers are computed from its directory; only `facts` are declared, see :func:`card_of`."""

    def to_markdown(self) -> str:
        """Write the card, with the YAML header of the Hugging Face hub."""
        return card_as_markdown(self)

    def to_entry_fields(self) -> dict[str, Any]:
        """Fields of an entry of an index of models, as plain values."""
        sources = [
            {name: getattr(source, name) for name in ("name", "url", "license", "doi", "n_cells")}
            for source in self.facts.sources
            if source.used_for == "training"
        ]
        return {
            "description": self.spec.description,
            "license": self.facts.license,
            "organism": self.organism,
            "tissues": list(self.facts.tissues),
            "labels": list(self.spec.labels.names),
            "label_ids": list(self.spec.labels.ids),
            "n_cells": self.n_cells,
            "n_genes": len(self.spec.features),
            "sources": sources,
            "scores": self.scores,
            "sctab_version": self.spec.versions.get("sctab"),
        }


def card_of(directory: str | PathLike[str]) -> ModelCard:
    """Card of a stored model: what its directory tells, with facts and tests of its `card.json`.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble, or whatever else names one, see :func:`sctab.zoo.load`.

    Returns
    -------
    The card. :attr:`ModelCard.missing` lists what was not measured; nothing is filled in for it.

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
    path = model_path(directory)
    predictor = load_predictor(path, accelerator="cpu")
    file = read_card_file(path, predictor.sha256 or "")
    check_facts(file.facts, predictor.spec, path)
    return _card(path, predictor, file)


def check_facts(facts: CardFacts, spec: ModelSpec, path: Path) -> None:
    """Refuse sources whose cells are not those that a model learned or was calibrated on.

    Raises
    ------
    SettingError
        If numbers of cells differ.
    """
    training = spec.training
    stated, known = facts.n_cells("training"), training.get("n_obs")
    calibrated = 0 if spec.calibration is None else spec.calibration.n_obs
    if 0 < facts.n_cells("calibration") < calibrated:
        raise SettingError(
            f"The sources of `{path}` state {facts.n_cells('calibration'):,} calibration cells, and the model was calibrated on "
            f"{calibrated:,}. Correct `n_cells` in `sources`."
        )
    if facts.sources and known is not None and stated not in (known, training.get("n_labeled")):
        raise SettingError(
            f"The sources of `{path}` state {stated:,} training cells, and the model learned {known:,}. Correct `n_cells` in `sources`."
        )


def _card(path: Path, predictor: Predictor, file: CardFile) -> ModelCard:
    spec, arrays = predictor.spec, predictor.arrays
    cells = None if spec.is_clustering else HeldOutCells.from_arrays(arrays, spec)
    types = types_of_arrays(arrays, n_genes=len(spec.features), n_labels=len(spec.labels))
    names = [source.name for source in file.facts.sources if source.used_for == "calibration"]
    return ModelCard(
        name=path.resolve().name,
        spec=spec,
        facts=file.facts,
        sha256=predictor.sha256 or "",
        n_members=len(predictor.networks),
        n_bytes=_size(path),
        held_out=None if cells is None else score_cells_of(cells, spec, name=", ".join(names) or _HELD_OUT),
        tests=file.tests,
        reported_unseen=None if types is None else reported_unseen(types),
        fingerprints=Fingerprints.from_arrays(arrays, n_genes=len(spec.features)),
    )


def _size(path: Path) -> int:
    kept: Sequence[str] = (WEIGHTS_FILE, SPEC_FILE, REFERENCE_FILE, CARD_FACTS_FILE)
    return sum(file.stat().st_size for file in path.rglob("*") if file.name in kept)
