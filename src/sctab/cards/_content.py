"""Content of a model card: what was measured of a model, what its authors declare, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sctab.cards._command import training_code
from sctab.cards._facts import CardFacts
from sctab.cards._scores import HeldOutScores
from sctab.data import guess_species
from sctab.inference import Calibration, Fingerprints, ModelSpec, ReferenceSketch

_LATIN = {"human": "Homo sapiens", "mouse": "Mus musculus"}


@dataclass(frozen=True)
class CardContent:
    """Measured and declared parts of a card."""

    name: str
    spec: ModelSpec
    facts: CardFacts
    sha256: str
    """Hash of the weights; of an ensemble, of the hashes of its members."""
    n_members: int
    """Members of an ensemble; 1 for a single model."""
    n_bytes: int
    """Bytes of weights, description and what is kept of the reference."""
    held_out: HeldOutScores | None
    """Scores on the held-out cells that the model was calibrated on; `None` for a model that keeps none."""
    tests: tuple[HeldOutScores, ...]
    """Scores on test data, see :func:`add_scores`."""
    reported_unseen: float | None
    """Fraction of reference cells reported as unseen against types of other donors, see :func:`reported_unseen`; `None` if not kept."""
    fingerprints: Fingerprints | None
    """Filters that recognise training cells."""
    sketch: ReferenceSketch | None
    """Cells of the reference that are stored with the model."""

    @property
    def calibration(self) -> Calibration | None:
        """Temperature of the probabilities; of an ensemble, of its members together."""
        return self.spec.calibration

    @property
    def n_cells(self) -> int | None:
        """Labelled cells that the model learned; `None` where it does not say."""
        training = self.spec.training
        found: int | None = training.get("n_labeled", training.get("n_obs"))
        return found

    @property
    def n_donors(self) -> int | None:
        """Their donors."""
        found: int | None = self.spec.training.get("n_donors")
        return found

    @property
    def organism(self) -> str:
        """Species: declared, or as the names of the genes tell; empty where they do not."""
        if self.facts.organism:
            return self.facts.organism
        names = (gene_id or symbol for gene_id, symbol in zip(self.spec.features.ids, self.spec.features.symbols, strict=True))
        species = guess_species(names)
        return "" if species is None else _LATIN.get(species.name, species.name)

    @cached_property
    def command(self) -> str:
        """Python code that trains the model again, with all settings and seeds; empty where they are unknown."""
        n_sketched = 0 if self.sketch is None else len(self.sketch.codes)
        return training_code(self.spec, n_members=self.n_members, n_sketched=n_sketched)

    @property
    def labels(self) -> tuple[tuple[str, str | None, int | None], ...]:
        """Name, Cell Ontology id and training cells of each label."""
        labels, cells = self.spec.labels, self.spec.training.get("cells_per_label") or [None] * len(self.spec.labels)
        return tuple(zip(labels.names, labels.ids, cells, strict=True))

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts of a complete card that were not declared or not measured, each with what adds it."""
        facts, needed = self.facts, "declare it as a fact"
        found = {
            f"the licence of the model ({needed})": facts.license,
            f"the sources of the training cells, with their licences ({needed})": facts.n_cells("training"),
            "the number of training cells (train the model with `sctab`)": self.n_cells,
            "the command, settings and seeds of the training (train the model with `sctab`)": self.command,
        }
        if not self.spec.is_clustering:
            scored = [scores for scores in (self.held_out, *self.tests) if scores is not None and scores.is_of_new_units]
            keeps = "train it with `calibrate=True`"
            found |= {
                "training cells per label (train the model with `sctab`)": self.spec.training.get("cells_per_label"),
                "scores on held-out donors or datasets (train with `donor_key` or `dataset_key`, or call `add_scores`)": scored,
                f"calibration on held-out cells ({keeps})": self.calibration is not None and self.held_out,
                f"types that tell which cells are unseen ({keeps})": self.reported_unseen is not None,
                f"fingerprints of the training cells ({keeps} and `fingerprints=True`)": self.fingerprints is not None,
            }
        return tuple(name for name, value in found.items() if not value)

    @property
    def scores(self) -> dict[str, float]:
        """Numbers by which models are compared: of held-out cells, and of test data, whose names are prefixes."""
        found: dict[str, float] = {}
        for prefix, each in (("", self.held_out), *((f"{test.name}: ", test) for test in self.tests)):
            if each is not None:
                values = {"macro_f1": each.macro_f1, "accuracy": each.accuracy, "calibration_error": each.calibration_error}
                found |= {f"{prefix}{name}": round(value, 4) for name, value in values.items()}
                found |= {f"{prefix}n_{each.unit}s": float(each.n_units)} if each.is_of_new_units else {}
        return found
