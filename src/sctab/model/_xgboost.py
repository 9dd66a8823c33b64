"""XGBoostClassifier: gradient-boosted trees on principal components.

Needs XGBoost, which is optional: `pip install 'sctab[xgboost]'`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from typing import Any, Literal, final

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sctab.data import Normalization, hide, kept_antibodies, kept_genes, normalise, principal_components
from sctab.errors import Parameter, SettingError, require, warn
from sctab.inference import ModelSpec
from sctab.io import BLOCK_SIZE, ProgressReport, progress_title
from sctab.metrics import correct_codes, macro_f1_of_codes
from sctab.model._base import CellTypeClassifier
from sctab.model._search import Range, SearchSpace
from sctab.model._setup import single_device
from sctab.nn import BoostedTrees
from sctab.sampling import Split
from sctab.train import (
    LARGE_REFERENCE,
    REFIT_BELOW,
    Checkpoints,
    CommonSettings,
    LoggerChoice,
    TrainingData,
    TrainingResult,
    as_history,
    log_epoch,
    start_logging,
    useful_threads,
)

_MOST_HISTOGRAMS = 64
"""Histograms of tree nodes that XGBoost keeps: deep trees would take a gigabyte of them, and save a fifth of the time."""
_PRODUCTS_PER_SUM = 20
"""Adding a value to the histogram of a node takes as long as this number of products of a dense network."""
_CELLS_PER_COMPONENT = 4
"""Fewer cells than this tell a component from noise badly."""


@dataclass(frozen=True, kw_only=True)
class BoostingSettings(CommonSettings):
    """Settings of boosting. An epoch is a round: one new tree per type. `learning_rate` is XGBoost's `eta`."""

    l1: float = 0.0
    """Penalty on the absolute values of the leaves, XGBoost's `alpha`."""
    l2: float = 1.0
    """Penalty on their squares, XGBoost's `lambda`."""
    covariate_dropout: float = 0.5
    """Probability that the covariates of a training cell (`categorical_covariate_keys`) are hidden."""
    protein_dropout: float = 0.5
    """Fraction of the training cells from which antibodies are hidden: all of them from half of these cells, and some from the others.
    From a fifth as many cells all genes are hidden."""

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return super()._rules() | {
            "l1": (self.l1 >= 0, "at least 0"),
            "l2": (self.l2 >= 0, "at least 0"),
            "covariate_dropout": (0 <= self.covariate_dropout <= 1, "between 0 and 1"),
            "protein_dropout": (0 <= self.protein_dropout <= 1, "between 0 and 1"),
        }


@final
class XGBoostClassifier(CellTypeClassifier):
    """Gradient-boosted trees on the principal components of the training cells.

    The matrix is read block by block and never made dense, so that a backed reference of any size can be learned from. Parameters that are
    `None` depend on the size of the reference, see :ref:`defaults`; :meth:`paper_settings` returns the published settings.

    :meth:`CellTypeClassifier.train` takes :class:`BoostingSettings`: an epoch is a boosting round, with one tree per type. `patience`
    counts rounds without a lower validation loss, and the trees up to the round with the lowest are kept. With `accelerator="cuda"`
    trees grow on a GPU.

    Parameters
    ----------
    adata
        Reference prepared with :meth:`CellTypeClassifier.setup_anndata`.
    n_top_genes
        Maximum number of genes, the most variable ones; `"all"` uses every gene of the reference.
    n_components
        Number of principal components.
    max_depth
        Largest depth of a tree.
    subsample
        Fraction of the cells that a tree sees.
    spec
        Stored description instead of a reference; used by :meth:`CellTypeClassifier.load`.

    References
    ----------
    Chen and Guestrin, XGBoost: A scalable tree boosting system, KDD 2016, :doi:`10.1145/2939672.2939785`; settings of Fischer et al.,
    Scaling cross-tissue single-cell annotation models, bioRxiv 2023, :doi:`10.1101/2023.10.07.561331`, "XGBoost model".

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> sctab.model.XGBoostClassifier.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> model = sctab.model.XGBoostClassifier(reference)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    """

    module: BoostedTrees

    def __init__(
        self,
        adata: AnnData | None = None,
        *,
        n_top_genes: int | Literal["all"] | None = None,
        n_components: int | None = None,
        max_depth: int | None = None,
        subsample: float | None = None,
        spec: ModelSpec | None = None,
    ) -> None:
        require("xgboost", extra="xgboost")
        super().__init__(adata, registry=self._stored_registry(adata, spec))
        self._initialise(spec, n_top_genes, {"n_components": n_components, "max_depth": max_depth, "subsample": subsample})
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """The published settings: `"model"` for the constructor, `"train"` for :meth:`CellTypeClassifier.train`.

        Examples
        --------
        >>> XGBoostClassifier.paper_settings()["train"]["max_epochs"]
        800
        """
        return {
            "model": {"n_top_genes": "all", "n_components": 256, "max_depth": 10, "subsample": 0.75},
            "train": {
                "max_epochs": 800,
                "learning_rate": 0.05,
                "early_stopping": True,
                "patience": 10,
                "class_weights": True,
                "l1": 0.0,
                "l2": 1.0,
            },
        }

    @classmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        return None

    @classmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        published = {key: value for key, value in cls.paper_settings()["model"].items() if key != "n_top_genes"}
        if n_obs >= LARGE_REFERENCE:
            return published
        return published | {"n_components": min(256, max(n_obs // _CELLS_PER_COMPONENT, 2)), "max_depth": 6}

    @classmethod
    def _default_training(cls, n_obs: int) -> BoostingSettings:
        published = cls.paper_settings()["train"]
        return BoostingSettings(
            **published if n_obs >= LARGE_REFERENCE else published | {"learning_rate": 0.1}, refit=n_obs < REFIT_BELOW
        )

    @classmethod
    def search_space(cls) -> SearchSpace:
        """Search space for tuning.

        Examples
        --------
        >>> XGBoostClassifier.search_space().model["max_depth"]
        Range(low=2, high=12, log=False)
        """
        return SearchSpace(
            model={"n_components": Range(16, 512, log=True), "max_depth": Range(2, 12), "subsample": Range(0.3, 1.0)},
            train={
                "learning_rate": Range(0.01, 0.5, log=True),
                "l1": Range(1e-3, 10.0, log=True),
                "l2": Range(1e-2, 100.0, log=True),
            },
        )

    def _fit(  # type: ignore[override]  # Lightning does not train trees: they have no other options
        self,
        data: TrainingData,
        settings: BoostingSettings,
        *,
        accelerator: str = "auto",
        devices: Any = "auto",
        enable_progress_bar: bool = True,
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        resume: bool = False,
        keep_checkpoints: Checkpoints = "best",
    ) -> TrainingResult:
        if keep_checkpoints == "all":
            warn("An `xgboost` model has no checkpoints to keep: its first trees are the model of any earlier round.")
        if resume:
            raise SettingError(
                Parameter("resume", value=True),
                " cannot be set for `XGBoostClassifier`, whose trees grow from the start. Omit it.",
            )
        split = data.split(settings)
        device = single_device(accelerator, devices)
        loggers = start_logging(run_dir, logger, {"model": type(self).__name__} | dict(self.spec.architecture) | asdict(settings))
        try:
            if not self.module.loadings.any():
                self._find_components(data, split, settings.seed)
            with _progress_callback(partial(log_epoch, loggers), settings, enabled=enable_progress_bar) as callback:
                booster, history = self._boost(data, split, settings, device=device, callback=callback)
        finally:
            for each in loggers:
                each.finalize("success")
        self.train_indices, self.validation_indices = split.train, split.validation
        self.history_ = {name: as_history(name, values) for name, values in history.items()}
        n_rounds = len(history["train_loss"])
        best = int(np.argmin(history["validation_loss"])) if len(split.validation) else None
        kept = n_rounds if best is None else best + 1
        self.module.keep(booster[: booster.num_boosted_rounds() - n_rounds + kept])
        macro_f1 = None if best is None else history["validation_macro_f1"][best]
        return TrainingResult(split, n_rounds, best, macro_f1, self._importance(data, split))

    def _find_components(self, data: TrainingData, split: Split, seed: int) -> None:
        found = principal_components(
            lambda: _normalised(data, split.train, self.spec.normalization),
            len(self.spec.features),
            len(self.module.loadings),
            rng=np.random.default_rng(seed),
        )
        self.module.mean = torch.from_numpy(found.mean)
        self.module.loadings = torch.from_numpy(found.loadings)

    def _boost(
        self, data: TrainingData, split: Split, settings: BoostingSettings, *, device: torch.device, callback: Any
    ) -> tuple[Any, dict[str, list[float]]]:
        """Grow trees on the principal components; the history has one value per round."""
        xgboost = require("xgboost", extra="xgboost")
        weights = data.class_weights(split) if settings.class_weights else np.ones(data.n_classes, dtype=np.float32)
        sets: dict[str, Any] = {}
        rng = np.random.default_rng(settings.seed)
        n_values = len(split.train) * (len(self.module.loadings) + data.covariates.shape[1])
        n_sums = n_values * data.n_classes * self.spec.architecture["max_depth"]  # of a round
        n_threads = useful_threads(_PRODUCTS_PER_SUM * n_sums, torch.get_num_threads())
        for name, cells in (("train", split.train), ("validation", split.validation)):
            if len(cells):
                labels = data.labels[cells]
                beside, components = data.covariates[cells].toarray(), self._components(data, cells)
                if name == "train":
                    beside, has_genes = self._partly_hidden(beside, settings, rng)
                    nothing = sparse.csr_matrix((1, len(self.spec.features)), dtype=np.float32)
                    components = np.where(has_genes, components, self.module.project(nothing))
                inputs = np.hstack([components, beside])
                sets[name] = xgboost.QuantileDMatrix(
                    inputs, labels, weight=weights[labels], ref=sets.get("train"), nthread=n_threads
                )
        callbacks = [callback]
        if settings.early_stopping and "validation" in sets:
            stopping = xgboost.callback.EarlyStopping(rounds=settings.patience, metric_name="mlogloss", data_name="validation")
            callbacks.append(stopping)
        booster = xgboost.train(
            {
                "objective": "multi:softprob",
                "num_class": data.n_classes,
                "eval_metric": "mlogloss",
                "eta": settings.learning_rate,
                "alpha": settings.l1,
                "lambda": settings.l2,
                "max_depth": self.spec.architecture["max_depth"],
                "subsample": self.spec.architecture["subsample"],
                "max_cached_hist_node": _MOST_HISTOGRAMS,
                "device": str(device) if device.type == "cuda" else "cpu",
                "seed": settings.seed,
                "nthread": n_threads,
                "verbosity": 0,
            },
            sets["train"],
            num_boost_round=settings.max_epochs,
            evals=[(matrix, name) for name, matrix in sets.items()],
            custom_metric=_corrected_macro_f1(data.child_matrix),
            xgb_model=self.module.booster if self.module.has_trees else None,
            verbose_eval=False,
            callbacks=callbacks,
        )
        return booster, callback.history

    def _partly_hidden(
        self, beside: NDArray[np.float32], settings: BoostingSettings, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Inputs after the genes, `(n_obs, n_beside)`, without those that are hidden from a cell; and cells that keep their genes."""
        panel = self.spec.proteins
        proteins, covariates = np.split(beside, [0 if panel is None else panel.n_inputs], axis=1)
        known = covariates * (rng.random(covariates.shape) >= settings.covariate_dropout)
        if panel is None:
            return known, np.ones((len(beside), 1), dtype=bool)
        draws = rng.random((len(beside), len(panel) + 2))
        proteins = hide(proteins, kept_antibodies(draws, settings.protein_dropout), panel)
        has_genes: NDArray[np.bool_] = kept_genes(draws, settings.protein_dropout)
        return np.hstack([proteins, known]).astype(np.float32), has_genes

    def _components(self, data: TrainingData, cells: NDArray[np.int64]) -> NDArray[np.float32]:
        """Principal components of some cells, `(len(cells), n_components)`."""
        projected = np.empty((len(cells), len(self.module.loadings)), dtype=np.float32)
        start = 0
        for block in _normalised(data, cells, self.spec.normalization):
            projected[start : start + block.shape[0]] = self.module.project(block)
            start += block.shape[0]
        return projected

    def _importance(self, data: TrainingData, split: Split) -> NDArray[np.float32]:
        """Gain of each input, `(n_inputs,)`; that of a component is shared out among genes by how much of it each makes up."""
        expression, n_cells = np.zeros(len(self.spec.features)), 0
        for block in _normalised(data, split.train, self.spec.normalization):
            expression += np.asarray(block.sum(axis=0)).ravel()
            n_cells += block.shape[0]
        loadings = np.abs(self.module.loadings.cpu().numpy()) * (expression / n_cells)
        gain = self.module.booster.get_score(importance_type="total_gain")
        gains = np.array([gain.get(f"f{i}", 0.0) for i in range(len(loadings))])
        share = loadings / np.maximum(loadings.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        beside = [gain.get(f"f{len(loadings) + i}", 0.0) for i in range(data.covariates.shape[1])]
        importance = np.concatenate([gains @ share, beside])
        total = importance.sum()
        return (importance / total if total > 0 else np.full_like(importance, 1 / len(importance))).astype(np.float32)

    def _forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        output = self.module(values)
        return output.logits, output.embedding

    def _freeze_for_query(self) -> None:
        pass  # components are kept where they are there already, and trees always grow from scratch


def _normalised(data: TrainingData, cells: NDArray[np.int64], normalization: Normalization) -> Iterator[sparse.csr_matrix]:
    """Normalised expression of some cells, which are in order, block by block."""
    wanted = np.zeros(len(data.labels), dtype=bool)
    wanted[cells] = True
    start = 0
    for block in data.read(BLOCK_SIZE):
        chosen = wanted[start : start + block.shape[0]]
        start += block.shape[0]
        if chosen.any():
            yield normalise(block[chosen], normalization)


def _corrected_macro_f1(child_matrix: NDArray[np.bool_]) -> Callable[[NDArray[np.float32], Any], tuple[str, float]]:
    """A metric for XGBoost."""

    def metric(probabilities: NDArray[np.float32], matrix: Any) -> tuple[str, float]:
        truth = matrix.get_label().astype(np.int64)
        return "macro_f1", macro_f1_of_codes(truth, correct_codes(truth, probabilities.argmax(axis=1), child_matrix))

    return metric


@contextmanager
def _progress_callback(
    log: Callable[[int, Mapping[str, float]], None], settings: BoostingSettings, *, enabled: bool
) -> Iterator[Any]:
    """A callback for XGBoost that logs every round, keeps the history, and shows progress on stderr."""
    callback: Any = require("xgboost", extra="xgboost").callback.TrainingCallback
    with ProgressReport(settings.max_epochs, progress_title("Boosting"), unit="rounds", shown=enabled) as progress:

        class ProgressCallback(callback):
            def __init__(self) -> None:
                self.history: dict[str, list[float]] = {}

            def after_iteration(self, _model: Any, _round: int, evaluations: Mapping[str, Mapping[str, list[float]]]) -> bool:
                values = {"train_loss": evaluations["train"]["mlogloss"][-1], "learning_rate": settings.learning_rate}
                if "validation" in evaluations:
                    values["validation_loss"] = evaluations["validation"]["mlogloss"][-1]
                    values["validation_macro_f1"] = evaluations["validation"]["macro_f1"][-1]
                log(len(self.history.get("train_loss", [])), values)
                for name, value in values.items():
                    self.history.setdefault(name, []).append(value)
                progress.advance()
                return False

        yield ProgressCallback()
