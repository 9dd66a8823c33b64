"""The cells of a study: some to learn from and some to judge by, in memory or in a corpus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from sctab.data import fingerprint, reference_source
from sctab.errors import InputValueError, SettingError, warn
from sctab.model import CellTypeClassifier, check_reference, own_copy
from sctab.sampling import Split, split_cells
from sctab.train import LEARNED, VALIDATED, CommonSettings, CorpusReference, label_ids_in


class StudyCells(ABC):
    """Cells to learn from, and cells to judge by, which training does not see, not even to choose its best epoch."""

    split: str
    """How the latter were held out: `"donor"`, `"stratified"`, or `"corpus"`, whose validation cells they are."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What tells these cells from others, in words that a message can show."""

    @property
    @abstractmethod
    def n_obs(self) -> int:
        """Cells to learn from."""

    @property
    @abstractmethod
    def n_held_out(self) -> int:
        """Cells to judge by."""

    @abstractmethod
    def new_model(self, model_class: type[CellTypeClassifier], settings: Mapping[str, Any]) -> CellTypeClassifier:
        """An untrained model of the cells to learn from."""

    @abstractmethod
    def judge(self, model: CellTypeClassifier) -> tuple[ArrayLike, ArrayLike]:
        """True labels of the cells to judge by, and those that a model gives them, `(n_held_out,)` each."""

    @abstractmethod
    def can_augment(self, training: CommonSettings) -> bool:
        """Whether some type has two donors among those of the cells that a trial learns from, split for validation as in training."""

    def release(self, model: CellTypeClassifier) -> None:  # noqa: B027 - there is something to forget only in memory
        """Forget a model: scvi-tools would keep the reference of every one."""


@dataclass(frozen=True, eq=False)
class ReferenceCells(StudyCells):
    """Those of an annotated reference."""

    setup: Mapping[str, Any]
    """Arguments of `setup_anndata`."""
    reference: AnnData = field(repr=False)
    """Cells to learn from."""
    held_out: AnnData = field(repr=False)
    """Cells to judge by."""
    split: str
    train_size: float
    fingerprint: str
    """Hash of the cells, labels, donors and genes."""

    @classmethod
    def of(cls, adata: AnnData, setup: Mapping[str, Any], *, train_size: float, seed: int) -> Self:
        """Split a reference; parameters and errors as in `tune`."""
        if not 0 < train_size < 1:
            raise SettingError(f"`train_size={train_size!r}` must be above 0 and below 1: what is left is held out to judge by.")
        unlabeled_category = check_reference(
            adata,
            setup["labels_key"],
            layer=setup["layer"],
            donor_key=setup["donor_key"],
            unlabeled_category=setup["unlabeled_category"],
            categorical_covariate_keys=setup["categorical_covariate_keys"],
            var_keys=[setup[name] for name in ("gene_id_key", "gene_symbol_key") if setup[name] is not None],
            label_ids=label_ids_in(setup),
        )
        setup = {**setup, "unlabeled_category": unlabeled_category}
        labels = adata.obs[setup["labels_key"]].astype(str)
        donors = None if setup["donor_key"] is None else adata.obs[setup["donor_key"]].astype(str)
        split = _hold_out(labels, donors, setup["unlabeled_category"], train_size=train_size, seed=seed)
        source, notes = reference_source(adata, setup["layer"])
        for note in [*notes, *_notes(split, donors)]:
            warn(note)
        return cls(
            setup=setup,
            reference=own_copy(adata, split.train),
            held_out=own_copy(adata, split.validation),
            split=split.by,
            train_size=train_size,
            fingerprint=fingerprint(
                source, labels, () if donors is None else donors, *(adata.obs[key] for key in setup["categorical_covariate_keys"])
            ),
        )

    @property
    def identity(self) -> dict[str, str]:
        """Columns, how many are learned from, and the hash."""
        return {name: str(value) for name, value in self.setup.items() if name != "label_ids" or value} | {
            "data": self.fingerprint,
            "train_size": str(self.train_size),
        }

    @property
    def n_obs(self) -> int:
        """Cells to learn from."""
        return int(self.reference.n_obs)

    @property
    def n_held_out(self) -> int:
        """Cells to judge by."""
        return int(self.held_out.n_obs)

    def new_model(self, model_class: type[CellTypeClassifier], settings: Mapping[str, Any]) -> CellTypeClassifier:
        """A model of the reference."""
        model_class.setup_anndata(self.reference, **self.setup)
        return model_class(self.reference, **settings)  # type: ignore[call-arg]

    def judge(self, model: CellTypeClassifier) -> tuple[ArrayLike, ArrayLike]:
        """Labels of the cells that were held out."""
        predicted = model.predict(self.held_out, layer=self.setup["layer"] or "X")
        return self.held_out.obs[self.setup["labels_key"]].astype(str), predicted

    def can_augment(self, training: CommonSettings) -> bool:
        """By the columns of labels and donors."""
        if self.setup["donor_key"] is None:
            return False
        obs = self.reference.obs
        labels = pd.factorize(obs[self.setup["labels_key"]].astype(str), sort=True)[0]  # both in the order of training
        return _has_donors(labels, pd.factorize(obs[self.setup["donor_key"]].astype(str))[0], training)

    def release(self, model: CellTypeClassifier) -> None:
        """Forget a model of the reference."""
        model.deregister_manager(self.reference)


@dataclass(frozen=True, eq=False)
class CorpusCells(StudyCells):
    """Training cells of a corpus, some of whose donors validate a training, and its validation cells to judge by."""

    reference: CorpusReference
    covariate_keys: Sequence[str] = ()
    split: str = "corpus"

    @property
    def identity(self) -> dict[str, str]:
        """Which part of which corpus."""
        return {
            "subset": str(self.reference.subset),
            "subset_by": self.reference.subset_by,
            "categorical_covariate_keys": str(list(self.covariate_keys)),
            "data": self.reference.corpus.sha256,
        }

    @property
    def n_obs(self) -> int:
        """Cells to learn from."""
        return len(self.reference.cells)

    @property
    def n_held_out(self) -> int:
        """Cells to judge by."""
        return self.reference.corpus.n_obs_of(VALIDATED)

    def new_model(self, model_class: type[CellTypeClassifier], settings: Mapping[str, Any]) -> CellTypeClassifier:
        """A model of the corpus."""
        return model_class._of(self.reference, self.covariate_keys, **settings)

    def judge(self, model: CellTypeClassifier) -> tuple[ArrayLike, ArrayLike]:
        """Labels of the validation cells."""
        return self.reference.judge(partial(model.predict, layer="X"))

    def can_augment(self, training: CommonSettings) -> bool:
        """By what the corpus knows of its cells."""
        codes = self.reference.corpus.codes(LEARNED, ["label", "donor"]).astype(np.int64)
        labels = np.full(len(codes), -1)
        labels[self.reference.cells] = codes["label"].to_numpy()[self.reference.cells]
        return _has_donors(labels, codes["donor"].to_numpy(), training)


def _hold_out(
    labels: pd.Series, donors: pd.Series | None, unlabeled_category: str | None, *, train_size: float, seed: int
) -> Split:
    codes = np.where(labels == unlabeled_category, -1, pd.factorize(labels)[0]).astype(np.int64)
    donor_codes = None if donors is None else pd.factorize(donors)[0].astype(np.int64)
    split = split_cells(codes, donor_codes, train_size=train_size, by="donor", rng=np.random.default_rng(seed))
    if not split.validation.size:
        raise InputValueError(
            f"No cell can be held out to judge by: no type has enough of the {len(labels)} cells. Give more cells, or a smaller "
            f"`train_size` than {train_size}."
        )
    return split


def _notes(split: Split, donors: pd.Series | None) -> list[str]:
    if split.by == "donor":
        return []
    why = "no `donor_key` was given" if donors is None else "there are too few donors to hold some of them out"
    return [f"Settings are judged by cells of the donors that they were learned from, since {why}: expect less on new donors."]


def _has_donors(labels: NDArray[np.int64], donors: NDArray[np.int64], training: CommonSettings) -> bool:
    split = split_cells(labels, donors, train_size=training.train_size, by=training.validation_split, rng=training.split_rng)
    donors_per_label = pd.Series(donors[split.train]).groupby(labels[split.train]).nunique()
    return bool((donors_per_label > 1).any())
