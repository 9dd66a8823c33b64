"""Model cards: what was measured of a model, what its authors declare, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sctab.cards._content import CardContent
from sctab.cards._facts import CardFacts
from sctab.cards._file import CardFile, read_card_file
from sctab.cards._markdown import card_as_markdown
from sctab.cards._scores import reported_unseen, score_cells_of
from sctab.errors import Either, Parameter, SettingError
from sctab.inference import (
    Fingerprints,
    HeldOutCells,
    ModelSpec,
    Predictor,
    ReferenceSketch,
    load_predictor,
    types_of_arrays,
)
from sctab.keys import CARD_FACTS_FILE, REFERENCE_FILE, SPEC_FILE, WEIGHTS_FILE

_HELD_OUT = "held-out cells of the reference"


class ModelCard(CardContent):
    """Card of a stored model. Numbers are computed from its directory; only `facts` are declared, see :func:`sctab.zoo.card_of`."""

    def __repr__(self) -> str:
        """Name the model, what it learned, and what its card lacks."""
        lacks = "nothing" if not self.missing else "; ".join(self.missing)
        return f"ModelCard of `{self.name}`: {self.spec.summary}; missing: {lacks}"

    def _repr_markdown_(self) -> str:
        """Show the card in a notebook."""
        return self.to_markdown().split("\n---\n", 1)[1]

    def to_markdown(self) -> str:
        """Write the card, with the YAML header of the Hugging Face hub."""
        return card_as_markdown(self)

    def require_complete(self, *, draft: bool) -> None:
        """Refuse to publish a card that lacks something, unless it is a draft.

        Raises
        ------
        SettingError
            If the card lacks something; the message lists it.
        """
        if self.missing and not draft:
            raise SettingError(
                f"The card of `{self.name}` is not complete. It lacks {'; '.join(self.missing)}. Declare facts with ",
                Parameter("facts", ...),
                ", measure scores with ",
                Either("`sctab.zoo.add_scores`", "`sctab.zoo.add_scores` in Python"),
                ", or publish a draft with ",
                Parameter("draft", value=True),
                ".",
            )

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


def read_card(path: Path) -> ModelCard:
    """Card of a model directory; errors as for :func:`sctab.zoo.card_of`.

    Parameters
    ----------
    path
        Directory of a model or an ensemble.
    """
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
        sketch=ReferenceSketch.from_arrays(arrays, n_genes=len(spec.features), n_labels=len(spec.labels)),
    )


def _size(path: Path) -> int:
    kept: Sequence[str] = (WEIGHTS_FILE, SPEC_FILE, REFERENCE_FILE, CARD_FACTS_FILE)
    return sum(file.stat().st_size for file in (*path.glob("*"), *path.glob("member_*/*")) if file.name in kept)
