"""References: labelled cells in memory or in a corpus."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.augmentation import donor_differences
from sctab.data import Hidden, LearnedMatrix, Normalization, normalise
from sctab.errors import Either, Parameter, SettingError
from sctab.inference import Evaluation, ModelSpec, Predictor, Unit, decide, evaluate_cells
from sctab.sampling import Split, balanced_class_weights
from sctab.train._batches import CountsDataModule
from sctab.train._settings import CommonSettings, TrainingResult


class Reference(Protocol):
    """Labelled cells that a model learns from. What trains, tunes or compares does not know whether they are in memory or in a corpus."""

    @property
    def setup(self) -> Mapping[str, Any]:
        """Arguments of `setup_anndata`: where labels, donors, counts and covariates are."""

    @property
    def identity(self) -> dict[str, str]:
        """Identity of this reference as readable text; `data` is a hash of its content."""

    @property
    def n_obs(self) -> int:
        """Labelled cells to learn from."""

    @property
    def obs(self) -> pd.DataFrame:
        """Annotation of the cells to learn from, `(n_obs, n_columns)`."""

    @property
    def label_names(self) -> list[str]:
        """Types, in order."""

    @property
    def label_ids(self) -> Mapping[str, str | None]:
        """Cell Ontology ids of labels that were confirmed."""

    @property
    def adata(self) -> AnnData | None:
        """The AnnData that it is, where it is one."""

    def to_anndata(self) -> AnnData:
        """The cells to learn from, in memory."""

    def to_send(self) -> Self:
        """The same, for another process."""

    def describe(self, model_class: str, *, n_top_genes: int | str | None, architecture: Mapping[str, Any]) -> ModelSpec:
        """An untrained model; it warns of labels that will be hard to learn or to use.

        Parameters
        ----------
        model_class
            Name of its class.
        n_top_genes
            How many of the genes to take, those that vary most; all of them where it is not a number.
        architecture
            Keyword arguments of its network.
        """

    def continue_from(self, spec: ModelSpec, *, new_labels: bool) -> ModelSpec:
        """A trained model that is trained on with this reference, over its own genes.

        Parameters
        ----------
        spec
            The model.
        new_labels
            Add types that it does not know behind its own; otherwise they are refused.

        Raises
        ------
        LabelError
            If there are such types and they are not wanted.
        GeneOverlapError
            If no gene of the model is in a corpus, or if that belongs to another species.
        """

    def training_defaults[S: CommonSettings](self, settings: S) -> S:
        """The defaults of a model class, as they are on this reference."""

    def check_settings(self, given: Mapping[str, Any]) -> None:
        """Refuse settings that the reference does not leave open.

        Raises
        ------
        SettingError
            If there are such settings.
        """

    def data(self, spec: ModelSpec) -> TrainingData:
        """Training data over the genes and labels of a model; cells with other labels are excluded."""

    def validation(self, split: Split) -> HeldOut | None:
        """The validation cells of a training, to judge by; `None` where there are none.

        Parameters
        ----------
        split
            That of the training.
        """

    def n_folds(self, requested: int | None) -> int:
        """Return the number of parts that :meth:`folds` holds out, one after another.

        Parameters
        ----------
        requested
            Requested number; `None` leaves it to the reference.
        """

    def folds(self, n_folds: int | None, *, by: str, seed: int) -> Iterator[HeldOut]:
        """Parts to compare model classes on.

        Parameters
        ----------
        n_folds
            How many; `None` leaves it to the reference.
        by
            `"dataset"` holds out whole datasets where there are two or more, and otherwise, as `"donor"` does, whole donors where there
            are enough. `"cluster"` holds out cells that differ from the others of their type, and needs two parts or more.
        seed
            Random seed.

        Raises
        ------
        SettingError
            If `n_folds` cannot be set, or if no cell can be held out.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """Cells to learn from, and cells to judge by, which training does not see, not even to choose its best epoch."""

    reference: Reference
    """Cells to learn from."""
    by: str
    """Kind of split: `"dataset"`, `"donor"`, `"stratified"`, or `"corpus"` for the validation cells of a corpus."""
    truth: NDArray[np.object_] = field(repr=False)
    """Labels of the cells to judge by, `(n_held_out,)`."""
    unit: Unit
    """Unit that is held out whole."""
    units: NDArray[np.object_] | None = field(repr=False)
    """Dataset or donor of each of these cells, `(n_held_out,)`; `None` where neither is held out whole."""
    parts: Callable[[], Iterable[AnnData]] = field(repr=False)
    """The cells to judge by, in order, a part at a time."""
    layer: str
    """Matrix of these cells."""
    identity: Mapping[str, str]
    """Identity of all these cells, see :attr:`Reference.identity`."""

    def evaluate(self, predictor: Predictor, *, hidden: Hidden = "none") -> Evaluation:
        """Outputs of a trained model for the cells to judge by.

        Parameters
        ----------
        predictor
            The model.
        hidden
            Antibodies of the cells to hide from it.
        """
        return Evaluation.join(
            [
                evaluate_cells(predictor, cells, predictor.open_query(cells, layer=self.layer, hidden=hidden))
                for cells in self.parts()
            ]
        )

    def judge(self, predictor: Predictor) -> NDArray[np.object_]:
        """Labels that a trained model gives the cells to judge by, `(n_held_out,)`; NaN for cells without a count in its genes."""
        return decide(self.evaluate(predictor)).labels(list(predictor.spec.labels.names))


@dataclass(frozen=True)
class TrainingData(ABC):
    """Counts over the model's genes, with annotation of each cell."""

    labels: NDArray[np.int64]
    """Class of each cell, `(n_obs,)`; negative where there is none."""
    donors: NDArray[np.int64] | None
    """Donor of each cell, `(n_obs,)`."""
    n_classes: int
    covariates: sparse.csr_matrix = field(repr=False)
    """Inputs of each cell after the genes, `(n_obs, n_beside)`: those of the proteins, and one column per category of each covariate."""
    child_matrix: NDArray[np.bool_] = field(repr=False)
    """True if the class of the column is that of the row or one of its subtypes, `(n_classes, n_classes)`."""

    @abstractmethod
    def read(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The counts of all cells, in order, in blocks of `size` cells: float32, `(size, n_vars)`."""

    @abstractmethod
    def rows(self, cells: NDArray[np.int64]) -> sparse.csr_matrix:
        """The counts of some cells, in the requested order, `(len(cells), n_vars)`."""

    @abstractmethod
    def split(self, settings: CommonSettings) -> Split:
        """Split into training and validation cells."""

    @abstractmethod
    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches for training and for validation."""

    def has_donor_differences(self, settings: CommonSettings) -> bool:
        """Return whether :meth:`donor_differences` would find any, with the split of these settings."""
        if self.donors is None:
            return False
        train = self.split(settings).train
        donors_per_label = pd.Series(self.donors[train]).groupby(self.labels[train]).nunique()
        return bool((donors_per_label > 1).any())

    def donor_differences(self, split: Split, normalization: Normalization, seed: int) -> sparse.csr_matrix:
        """Vectors of :func:`sctab.augmentation.donor_differences` from the training cells.

        Raises
        ------
        SettingError
            If donors are not known, or no type is in two of them.
        """
        if self.donors is None:
            raise SettingError(
                Parameter("augment", value=True),
                " needs donors. ",
                Either("Pass `donor_key` to `setup_anndata`, or omit `augment`.", "Set `--donor-key`, or omit `--augment`."),
            )
        found = donor_differences(
            lambda cells: normalise(self.rows(split.train[cells]), normalization),
            self.labels[split.train],
            self.donors[split.train],
            rng=np.random.default_rng(seed),
        )
        if not found.shape[0]:
            raise SettingError(
                Parameter("augment", value=True),
                " needs a cell type of which two training donors have cells. Omit ",
                Parameter("augment"),
                ".",
            )
        return found

    @property
    def origin(self) -> dict[str, Any]:
        """Provenance, for `model.json`."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of this data, for a resumed training: a hash of its content."""
        donors = [] if self.donors is None else [self.donors]
        covariates = self.covariates.tocsr()
        of_cells = content_hash(self.labels, *donors, covariates.indptr, covariates.indices)
        return self.origin | {"n_obs": len(self.labels), "cells": of_cells, **self._identity_of_counts}

    @property
    @abstractmethod
    def _identity_of_counts(self) -> dict[str, Any]:
        """Identity of the counts beyond :attr:`origin`."""

    @property
    def matrix(self) -> LearnedMatrix | None:
        """Matrix that the data is from; `None` for several."""
        return None

    @cached_property
    def unresolved_subtypes(self) -> NDArray[np.bool_]:
        """:attr:`child_matrix` without the subtypes that were told apart: most cells of the label are of donors who have them too.

        Who called some cells of a donor "monocyte" and others "non-classical monocyte" did not mean the latter by the former. Without
        donors it is unknown who looked closer, and labels are taken to exclude each other.
        """
        of_themselves = np.eye(self.n_classes, dtype=bool)
        if self.donors is None:
            return of_themselves
        known = self.labels >= 0
        counts = np.zeros((int(self.donors.max()) + 1, self.n_classes))
        np.add.at(counts, (self.donors[known], self.labels[known]), 1)
        beside = counts.T @ (counts > 0)  # cells of the label in donors who have the other one
        return (self.child_matrix & (beside <= counts.sum(axis=0)[:, None] / 2)) | of_themselves

    def class_weights(self, split: Split) -> NDArray[np.float32]:
        """Weight of each class by how many training cells it has, `(n_classes,)`."""
        return balanced_class_weights(self.labels[split.train], self.n_classes)


def content_hash(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the numbers in some arrays, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        numbers = np.ascontiguousarray(array, dtype=np.int64 if array.dtype.kind in "iub" else np.float32)
        digest.update(f"{numbers.dtype}{numbers.shape}".encode())
        digest.update(numbers.data)
    return digest.hexdigest()


def summarise(
    settings: CommonSettings, data: TrainingData, result: TrainingResult, history: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Summarise a training for `model.json`: settings, size of the reference, split, outcome and history."""
    matrix = {} if data.matrix is None else {"matrix": data.matrix.to_json()}
    return (
        data.origin
        | matrix
        | {
            "settings": asdict(settings),
            "n_obs": len(data.labels),
            "n_labeled": int((data.labels >= 0).sum()),
            "cells_per_label": np.bincount(data.labels[data.labels >= 0], minlength=data.n_classes).tolist(),
            "n_donors": None if data.donors is None else len(np.unique(data.donors)),
            "validation": {
                "by": result.split.by,
                "n_train": len(result.split.train),
                "n_validation": len(result.split.validation),
                "macro_f1": result.best_macro_f1,
            },
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "history": {name: [float(value) for value in values.iloc[:, 0]] for name, values in history.items()},
        }
    )
