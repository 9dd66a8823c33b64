"""What every cell type classifier has in common."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass
from torch import nn

from sctab.corpus import Corpus
from sctab.data import LearnedMatrix
from sctab.errors import (
    ModelFormatError,
    NotTrainedError,
    SettingError,
    listing,
    require,
    warn,
)
from sctab.inference import (
    BATCH_SIZE,
    EARLIER_WEIGHTS,
    ModelSpec,
    Predictor,
    build_network,
    problem_of_weights,
    read_model,
    take_weights,
    write_model,
)
from sctab.io import as_path
from sctab.model._prediction import latent_of, predict
from sctab.model._search import SearchSpace
from sctab.model._setup import check_reference, describe_reference, reference_fields, single_device, training_data
from sctab.model._transfer import copy_weights, in_model_genes, setup_for_query
from sctab.ontology import CellOntology, label_ids_from
from sctab.train import (
    CommonSettings,
    CorpusReference,
    LoggerChoice,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    is_first_process,
    measure_importance,
    require_known_labels,
    seeded,
    spec_for_query,
    stored_history,
    summarise,
)


class CellTypeClassifier(BaseModelClass):
    """Learns cell types from annotated single cells and names those of others.

    Abstract. A subclass is final; it has `__init__`, which calls `_initialise`, and the abstract methods below. Everything else
    (setup, training data, gene matching, normalisation, prediction, files) is here and is not overridden.

    Attributes
    ----------
    spec
        :class:`ModelSpec`: genes, labels, normalisation, architecture and how the model was trained.
    module
        The network.
    gene_importance
        Share of the model's decisions that each gene carries, `(n_vars,)`, summing to one; uniform before training.
    name
        Name of the directory that the model was loaded from; empty before.
    sha256
        Hash of the stored weights; `None` when they were not saved since they last changed.
    """

    spec: ModelSpec
    module: nn.Module
    gene_importance: NDArray[np.float32]
    history_: Any

    @classmethod
    @abstractmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        """Keyword arguments of the network for a reference of `n_obs` labelled cells."""

    @classmethod
    @abstractmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        """How many genes to learn from at most, for such a reference; `None` is all."""

    @classmethod
    @abstractmethod
    def _default_training(cls, n_obs: int) -> CommonSettings:
        """How to train on such a reference where nothing else is asked for."""

    @classmethod
    @abstractmethod
    def search_space(cls) -> SearchSpace:
        """What to vary when the class is tuned: ranges of settings for the constructor and for :meth:`train`."""

    @classmethod
    @abstractmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """Settings of Fischer et al. (2023): `"model"` for the constructor and `"train"` for :meth:`train`."""

    @abstractmethod
    def _fit(self, data: TrainingData, settings: Any, **options: Any) -> TrainingResult:
        """Train :attr:`module` and leave it with the weights to keep; `settings` are of the class that :meth:`_default_training` gives."""

    @abstractmethod
    def _forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits `(n_obs, n_labels)` and latent `(n_obs, n_latent)`, if any, of the input `(n_obs, n_inputs)`, see :class:`ModelSpec`."""

    @abstractmethod
    def _freeze_for_query(self) -> None:
        """Leave only what tells types apart trainable, for a reference model that meets a query."""

    # ----------------------------------------------------------------------------------------------------- set-up

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        labels_key: str,
        *,
        layer: str | None = None,
        donor_key: str | None = None,
        unlabeled_category: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Say where an annotated reference keeps its counts, labels and donors.

        Parameters
        ----------
        adata
            Reference, `(n_obs, n_vars)`. Counts are best; normalised and log1p values are brought back to their scale.
        labels_key
            Column of `adata.obs` with cell types.
        layer
            Layer with the counts, or `"X"` or `"raw"`, whose genes are then those of `raw.var`; `X` by default.
        donor_key
            Column of `adata.obs` with donors. With at least three, validation holds out whole donors: that tells how well the model
            does on people that it has not seen.
        unlabeled_category
            Value of `labels_key` that means "no label"; such cells are not learned from. Where it is left out, and the column has one
            string that cannot be a cell type, such as `nan` or an empty one, it is that string, with a warning.
        label_ids
            Cell Ontology ids of labels, by label, or a file of them, see :func:`sctab.ontology.read_label_map`; `None` is the id of a label
            that has none. Other labels are looked up, see :meth:`sctab.ontology.CellOntology.resolve`.
        categorical_covariate_keys
            Columns of `adata.obs` that the model may look at besides the genes, such as the tissue. In training they are hidden from a
            random half of the cells (`covariate_dropout`), so that cells without them, or with a category that the model does not know,
            are named too. A missing value (NaN) is none.
        gene_id_key, gene_symbol_key
            Columns of `adata.var` with Ensembl ids and gene symbols. By default they are found among index and columns.
        **kwargs
            Passed to :meth:`scvi.data.AnnDataManager.register_fields`.

        Raises
        ------
        InputTypeError
            When `adata` is something else than an AnnData.
        KeyNotFoundError
            When a column or layer is not there.
        LabelError
            When labels or donors are missing (NaN, or strings such as `nan`); when there are not two types; when results could not be
            stored under the labels, such as `A/B` beside `A|B`; or when `unlabeled_category` is a label in another spelling.
        GeneOverlapError
            When the genes are in the rows.
        InputValueError
            When there are no cells, or when the matrix holds no counts nor anything that can be brought back to counts.
        """
        confirmed = {} if label_ids is None else label_ids_from(label_ids, CellOntology.embedded())
        unlabeled_category = check_reference(
            adata,
            labels_key,
            layer=layer,
            donor_key=donor_key,
            unlabeled_category=unlabeled_category,
            categorical_covariate_keys=() if categorical_covariate_keys is None else categorical_covariate_keys,
            var_keys=[key for key in (gene_id_key, gene_symbol_key) if key is not None],
            label_ids=confirmed,
        )
        setup_method_args = cls._get_setup_method_args(
            cls=cls,
            adata=adata,
            labels_key=labels_key,
            layer=layer,
            donor_key=donor_key,
            unlabeled_category=unlabeled_category,
            label_ids=confirmed,
            categorical_covariate_keys=[] if categorical_covariate_keys is None else list(categorical_covariate_keys),
            gene_id_key=gene_id_key,
            gene_symbol_key=gene_symbol_key,
        )
        manager = AnnDataManager(
            fields=reference_fields(adata, labels_key, layer=layer, donor_key=donor_key, unlabeled_category=unlabeled_category),
            setup_method_args=setup_method_args,
        )
        with warnings.catch_warnings():  # a type with few cells is named by its name when the model is made
            warnings.filterwarnings("ignore", message=r"Category \d+ in adata.obs.* has fewer than 3 cells")
            manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def _stored_registry(cls, adata: AnnData | None, spec: ModelSpec | None) -> dict[str, Any] | None:
        """What scvi-tools is to know of a model without a reference; `None` where it has one."""
        if adata is not None:
            if cls._get_most_recent_anndata_manager(adata) is None:
                raise SettingError(
                    f"The reference was not set up for `{cls.__name__}`. Call `{cls.__name__}.setup_anndata(adata, labels_key=…)` first."
                )
            return None
        if spec is None:
            raise SettingError(
                f"`{cls.__name__}` needs a reference that went through `{cls.__name__}.setup_anndata`. To use a trained model, "
                f"call `{cls.__name__}.load`."
            )
        return spec.to_registry()

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus | str | PathLike[str],
        *,
        subset: float = 1.0,
        subset_by: Literal["donor", "cell"] = "donor",
        categorical_covariate_keys: Sequence[str] = (),
        **model_settings: Any,
    ) -> Self:
        """A model of a corpus, which :meth:`train` reads as it goes: memory does not grow with it.

        It learns the training cells and is validated on the validation cells, as the corpus has them; the test cells are not touched.

        Parameters
        ----------
        corpus
            A corpus, or its directory.
        subset
            Share of the training data to learn from; a smaller share lies in a larger one.
        subset_by
            What is counted: `"donor"` takes all cells of a share of the donors, `"cell"` a share of the cells.
        categorical_covariate_keys
            What the model may look at besides the genes: `"tissue"`, `"assay"` or `"dataset"`; see :meth:`setup_anndata`.
        **model_settings
            Settings of the constructor. What is left out follows from the number of training cells, see :ref:`defaults`.

        Raises
        ------
        DataFileError
            When there is no corpus, or when it is damaged.
        KeyNotFoundError, LabelError, SettingError
            When it cannot be learned from in this way.
        MissingDependencyError
            When `annbatch` is not installed.

        Examples
        --------
        >>> model = SCTAB.from_corpus("blood.corpus")  # doctest: +SKIP
        >>> model.train(run_dir="blood.run")  # doctest: +SKIP
        """
        require("annbatch", extra="corpus")
        return cls._of(CorpusReference.of(corpus, subset, subset_by), categorical_covariate_keys, **model_settings)

    @classmethod
    def _of(cls, reference: CorpusReference, categorical_covariate_keys: Sequence[str], **model_settings: Any) -> Self:
        """See :meth:`from_corpus`."""
        known = set(signature(cls).parameters) - {"adata", "spec"}
        if unknown := sorted(set(model_settings) - known):
            raise SettingError(f"`{cls.__name__}` has no {listing(unknown)}. It has: {listing(sorted(known), most=20)}.")
        n_obs, n_top_genes = len(reference.cells), model_settings.pop("n_top_genes", None)
        spec = reference.describe(
            cls.__name__,
            categorical_covariate_keys,
            n_top_genes=cls._default_n_genes(n_obs) if n_top_genes is None else n_top_genes,
            architecture=cls._default_architecture(n_obs)
            | {key: value for key, value in model_settings.items() if value is not None},
        )
        model = cls(spec=spec)  # type: ignore[call-arg]
        model._corpus = reference
        return model

    def _initialise(self, spec: ModelSpec | None, n_top_genes: int | str | None, requested: Mapping[str, Any]) -> None:
        """Genes, labels and an untrained network: from the reference, or from a `spec` that was stored."""
        if spec is None:
            setup = dict(self.registry["setup_args"])
            n_obs = int((self.adata.obs[setup["labels_key"]].astype(str) != setup["unlabeled_category"]).sum())
            spec = describe_reference(
                self.adata,
                setup,
                type(self).__name__,
                n_top_genes=self._default_n_genes(n_obs) if n_top_genes is None else n_top_genes,
                architecture=self._default_architecture(n_obs)
                | {key: value for key, value in requested.items() if value is not None},
            )
        self.spec = spec
        with seeded(0):
            self.module = self._new_network()
        self.module.eval()
        self.gene_importance = np.full(len(spec.features), 1 / len(spec.features), dtype=np.float32)
        self.name = ""
        self.sha256: str | None = None
        self._has_pretrained_weights = False
        self._corpus: CorpusReference | None = None
        self._query_matrix: LearnedMatrix | None = None
        self._model_summary_string = spec.summary

    def _new_network(self) -> nn.Module:
        try:
            return build_network(self.spec)
        except (TypeError, ValueError) as error:
            raise SettingError(f"The architecture makes no sense: {error}") from error

    # --------------------------------------------------------------------------------------------------- training

    def train(
        self,
        max_epochs: int | None = None,
        *,
        batch_size: int | None = None,
        train_size: float | None = None,
        validation_split: str | None = None,
        refit: bool | None = None,
        early_stopping: bool | None = None,
        patience: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        schedule: str | None = None,
        lr_decay: float | None = None,
        gradient_clip: float | None = None,
        loss: str | None = None,
        label_smoothing: float | None = None,
        class_weights: bool | None = None,
        covariate_dropout: float | None = None,
        gene_dropout: float | None = None,
        augment: bool | None = None,
        l1: float | None = None,
        l2: float | None = None,
        accelerator: str = "auto",
        devices: Any = "auto",
        seed: int = 0,
        split_seed: int | None = None,
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        resume: bool = False,
        **trainer_kwargs: Any,
    ) -> None:
        """Learn the reference. What is `None` follows from its size, see :ref:`defaults`.

        Calling it again goes on from the weights that are there.

        Parameters
        ----------
        max_epochs
            Passes over the reference.
        batch_size
            Cells per step of the optimiser.
        train_size
            Share of the cells to learn from; the others validate. With 1 there is no validation, and the last weights are kept.
        validation_split
            `"donor"` holds out whole donors where `donor_key` was given and there are enough; `"stratified"` a share of each type.
        refit
            When validation has told how well the model does and how long to train, train it again on all cells, for as long. What is
            reported is the validation before; the model that is kept has learned from the validation cells too.
        early_stopping, patience
            Stop when the validation macro F1 has not improved for `patience` epochs. The best epoch's weights are kept in any case; with
            a one-cycle schedule that runs to its end, the best of its last fifth, where weights have settled.
        learning_rate, weight_decay
            Of AdamW; with a one-cycle schedule the former is its peak.
        schedule, lr_decay
            `"one-cycle"`, or `"step"`: the learning rate is multiplied by `lr_decay` after every epoch.
        gradient_clip
            Largest Euclidean norm of the gradient.
        loss
            What to make of labels of mixed granularity, see :ref:`mixed-granularity`. `"cross-entropy"`: all labels exclude each other, as
            published. `"hierarchical"`: a label is right in all of its subtypes. `"auto"`: in those that the donors with this label do not
            have. Where no label is a subtype of another, all three are the same.
        label_smoothing
            Share of each cell's label that is spread evenly over all types.
        class_weights
            Weigh classes by :math:`n / (K n_k)`, so that rare types count as much as frequent ones.
        covariate_dropout
            How often a training cell is shown without a covariate, see `categorical_covariate_keys` of :meth:`setup_anndata`.
        gene_dropout
            Largest share of genes set to zero in a training cell, see :func:`sctab.augmentation.drop_genes`.
        augment
            Add differences between donors to training cells, see :func:`sctab.augmentation.donor_differences`.
        l1, l2
            Penalties on the weights of all linear maps, added to the loss: `l1` times the sum of their absolute values and half `l2`
            times the sum of their squares.
        accelerator, devices
            As in Lightning: `"cpu"`, `"gpu"`, `"auto"`, …
        seed
            Decides initial weights, split, order of the cells and dropout. The global random state is left as it was.
        split_seed
            Decides the split by itself, so that models with several seeds are validated on the same cells.
        run_dir
            New directory that shows the training while it runs: `metrics.csv`, `tensorboard/`, and a model after every validation in
            `checkpoints/`, see :doc:`/logging`. By default, no file is written.
        logger
            A Lightning logger, `"neptune"`, or a list of these, besides those of `run_dir`.
        resume
            Go on with the training that `run_dir` is of, from the last epoch that it finished, or from where it was told to end
            (SIGTERM); where there is none, one begins. Settings, cells, labels, donors and covariates must be the same; they are known
            by a hash of their content. It needs `run_dir`.
        **trainer_kwargs
            Passed to :class:`scvi.train.Trainer`: `callbacks`, `enable_progress_bar`, `precision="bf16-mixed"`, …

        Raises
        ------
        SettingError
            When a setting makes no sense, when the training diverged, so that weights are NaN, or when `run_dir` is of another training
            than the one that is to go on: of other settings, or of another reference, by its content.
        OutputExistsError
            When `run_dir` is not empty.
        OutputError
            When `run_dir` or a checkpoint cannot be written.
        MissingDependencyError
            When Neptune is asked for and not installed.
        """
        arguments = locals()
        if resume and run_dir is None:
            raise SettingError(
                "`resume=True` needs the `run_dir` of the training that is to go on. Give it, or leave `resume` out."
            )
        data, defaults = self._data_and_defaults()
        given = {field.name: arguments[field.name] for field in fields(TrainingSettings) if arguments[field.name] is not None}
        known = [field.name for field in fields(defaults)]
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"{listing(unknown)} cannot be set for `{type(self).__name__}`. It has: {listing(known, most=20)}.")
        if self._corpus is not None and "validation_split" in given:
            raise SettingError("`validation_split` cannot be set with a corpus, which has its own splits. Leave it out.")
        if self._corpus is not None and given.get("train_size", 1) != 1:
            raise SettingError(
                f"`train_size={train_size}` cannot be set with a corpus, which has its own splits. Leave it out, or take 1 to learn from "
                "the validation cells too."
            )
        settings = replace(defaults, **given)

        with seeded(seed):
            is_new = not self.is_trained and not self._has_pretrained_weights
            start = None if is_new else {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
            if is_new:
                self.module = self._new_network()
            options = {"accelerator": accelerator, "devices": devices} | trainer_kwargs
            try:
                result = self._fit(data, settings, run_dir=run_dir, logger=logger, resume=resume, **options)
            except RuntimeError:  # entmax fails on NaN
                self._require_finite(None if is_new else start)
                raise
        if settings.refit and result.best_epoch is not None:
            result = self._fit_all(data, settings, result, start, options)
        self._require_finite(None if is_new else start)
        self._warn_of_divergence()
        self.module.eval()
        self.spec = self.spec.with_training(summarise(settings, data, result, self.history_))
        self.gene_importance = (
            measure_importance(self._forward, data, self.spec.normalization, device=self.device, rng=np.random.default_rng(seed))
            if result.importance is None
            else result.importance
        )
        self.sha256 = None
        self.is_trained_ = True

    def _require_finite(self, start: Mapping[str, torch.Tensor] | None) -> None:
        """Refuse weights of a training that diverged and go back to those before, `None` being a new network."""
        if not (problem := problem_of_weights(self.module.state_dict())):
            return
        if start is None:
            self.module, self.is_trained_, self.history_ = self._new_network(), False, None
        else:
            self.module.load_state_dict(dict(start))
        self.module.eval()
        raise SettingError(f"{problem}: the training diverged. Train again with a lower `learning_rate`.")

    def _warn_of_divergence(self) -> None:
        """Say when a training diverged after the epoch whose weights are kept."""
        is_finite = np.isfinite(self.history_["train_loss"].to_numpy(dtype=float).ravel())
        if not is_finite.all():
            warn(
                f"The training diverged in epoch {int(is_finite.argmin())}: its loss is not a finite number. The weights of an earlier "
                "epoch were kept. Train again with a lower `learning_rate`."
            )

    def _data_and_defaults(self) -> tuple[TrainingData, CommonSettings]:
        if self._corpus is not None:
            # Validation cells are learned too only where that is asked for: a corpus says what they are for.
            return self._corpus.data(self.spec), replace(self._default_training(len(self._corpus.cells)), refit=False)
        if self.adata is None:
            raise SettingError("The model was loaded without a reference. Pass one as `adata` to `load`, or use `load_query_data`.")
        data = training_data(self.adata, self.spec, self._query_matrix)
        return data, self._default_training(int((data.labels >= 0).sum()))

    def _fit_all(
        self,
        data: TrainingData,
        settings: CommonSettings,
        validated: TrainingResult,
        start: Mapping[str, torch.Tensor] | None,
        options: Mapping[str, Any],
    ) -> TrainingResult:
        """Train from the same start, `None` being a new network, on all cells; history and split stay those that were validated."""
        kept = {name: getattr(self, name) for name in ("history_", "train_indices", "validation_indices")}
        self.history_, self.is_trained_ = None, False  # otherwise scvi-tools goes on with the history
        with seeded(settings.seed):
            if start is None:
                self.module = self._new_network()
            else:
                self.module.load_state_dict(dict(start))
            quiet = {name: value for name, value in options.items() if name != "callbacks"}
            result = self._fit(
                data, settings.for_all_cells(validated.best_epoch or 0), run_dir=None, logger=None, resume=False, **quiet
            )
        for name, value in kept.items():
            setattr(self, name, value)
        return replace(validated, importance=result.importance)

    # ------------------------------------------------------------------------------------------------- prediction

    @property
    def predictor(self) -> Predictor:
        """The model as it is now, to predict with.

        Raises
        ------
        NotTrainedError
            When the model is not trained.
        """
        self._require_trained()
        return Predictor(self.spec, [self.module], self.gene_importance, name=self.name, sha256=self.sha256)

    def predict(
        self, adata: AnnData | None = None, *, soft: bool = False, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.object_] | pd.DataFrame:
        """Name the cell type of every cell.

        Genes are matched by name, so that their order, their number and the kind of their names do not matter.

        Parameters
        ----------
        adata
            Any AnnData; by default the reference.
        soft
            Give probabilities instead of labels.
        layer
            Layer to use, or `"X"` or `"raw"`; by default counts are looked for.
        batch_size
            Cells evaluated at a time.

        Returns
        -------
        Labels, `(n_obs,)`, with `NaN` for cells without a count in the model's genes; or with `soft` a frame of probabilities,
        `(n_obs, n_labels)`, indexed by cell, one column per label.

        Raises
        ------
        NotTrainedError
            When the model is not trained.
        InputValueError, KeyNotFoundError, GeneOverlapError
            When the data cannot be annotated.
        """
        return predict(self, adata, layer, soft=soft, batch_size=batch_size)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Embedding from which the label is read, `(n_obs, n_latent)`; parameters and errors as in :meth:`predict`.

        Raises
        ------
        SettingError
            When the model reads labels from the expression itself and has no latent space.
        """
        return latent_of(self, adata, layer, batch_size=batch_size)

    def write_checkpoint(self, path: Path) -> None:
        """Write the weights as they are in the middle of a training to a model directory, without a history.

        Nothing is written of a training that diverges; it says so at its end.
        """
        if not problem_of_weights(self.module.state_dict()):
            write_model(path, self.spec.with_training({}), self.module.state_dict(), self.gene_importance, overwrite=True)

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotTrainedError("The model is not trained. Call `model.train()` first, or `load` a trained one.")

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False, description: str | None = None) -> None:
        """Write the model to a directory: `model.safetensors` and `model.json`, no pickle, whole or not at all.

        Parameters
        ----------
        dir_path
            Directory to make.
        overwrite
            Replace a model or an ensemble that is there. Anything else is never replaced.
        description
            One line on what the model is for; `None` keeps the one that it has.

        Raises
        ------
        NotTrainedError
            When the model is not trained.
        OutputExistsError, OutputError
            When something is there already, or when it cannot be written.
        """
        self._require_trained()
        if not is_first_process():  # the others have the same
            return
        spec = self.spec if description is None else replace(self.spec, description=description)
        self.sha256 = write_model(dir_path, spec, self.module.state_dict(), self.gene_importance, overwrite=overwrite)
        self.spec = spec

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | Corpus | None = None,
        *,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        dir_path
            Its directory.
        adata
            A reference or a corpus to attach, for example to train on; prediction needs none. Its labels must be among those of the model.
        accelerator, device
            Where to put it.

        Raises
        ------
        ModelNotFoundError
            When there is no such directory.
        ModelFormatError
            When it is damaged, of an unknown version, or of another class.
        LabelError
            When `adata` has labels that the model does not know.
        GeneOverlapError
            When a corpus has no gene of the model, or is of another species.
        """
        model, note = cls._load(dir_path, adata, accelerator=accelerator, device=device)
        if note:
            warn(note)
        return model

    @classmethod
    def _load(
        cls, dir_path: str | PathLike[str], adata: AnnData | Corpus | None, *, accelerator: str, device: int | str
    ) -> tuple[Self, str]:
        """See :meth:`load`; and a note on how the model is stored, which may be empty."""

        def network_of(spec: ModelSpec) -> nn.Module:
            if spec.model_class != cls.__name__:
                raise ModelFormatError(
                    f"`{dir_path}` holds a {spec.model_class}, not a {cls.__name__}. Use `sctab.model.{spec.model_class}.load`."
                )
            return build_network(spec)

        stored = read_model(dir_path, network_of, earlier=EARLIER_WEIGHTS)
        corpus = adata if isinstance(adata, Corpus) else None
        if isinstance(adata, AnnData):
            cls.setup_anndata(adata, **stored.spec.setup)
            require_known_labels(adata.obs[stored.spec.setup["labels_key"]].astype(str), stored.spec)
        model = cls(None if corpus is not None else adata, spec=stored.spec)  # type: ignore[call-arg]
        if corpus is not None:
            model._corpus = CorpusReference(corpus)
            model._corpus.continue_from(stored.spec, new_labels=False)
        take_weights(model.module, stored.weights, where=dir_path)
        model.gene_importance = stored.importance
        model.name = as_path(dir_path).resolve().name
        model.sha256 = stored.sha256
        model.history_ = stored_history(stored.spec.training)
        model.is_trained_ = True
        model.to_device(single_device(accelerator, device))
        return model, stored.note

    # ---------------------------------------------------------------------------------- going on from a reference

    @classmethod
    def prepare_query_anndata(
        cls, adata: AnnData, reference_model: str | PathLike[str] | CellTypeClassifier, *, layer: str | None = None
    ) -> AnnData:
        """A new AnnData with the genes of a model, in its order, on the scale of counts; the query itself is not changed.

        Prediction does not need it: :meth:`predict` matches genes by itself. It is for training on a query and for other tools.

        Parameters
        ----------
        adata
            Query, `(n_obs, n_query_vars)`.
        reference_model
            A model or its directory.
        layer
            Layer to use; by default counts are looked for.

        Returns
        -------
        AnnData `(n_obs, n_vars)` with a CSR matrix of float32, genes that the query lacks being zero; `obs`, `obsm` and `uns` are
        copies of those of the query, and `var` has the columns `gene_id`, `gene_symbol` and `in_query`.

        Raises
        ------
        GeneOverlapError
            When no gene of the model is in the query.
        """
        model = reference_model if isinstance(reference_model, CellTypeClassifier) else cls.load(reference_model)
        return in_model_genes(adata, model.predictor.open_query(adata, layer=layer), model.spec.features)

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData | Corpus,
        reference_model: str | PathLike[str] | Self,
        *,
        labels_key: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        unfrozen: bool = False,
    ) -> Self:
        """A model for an annotated query that starts from the weights of a reference model; train it next.

        Its genes are those of the reference model; those of the query are matched by name. Types of the query that the reference
        does not know are added behind those that it knows.

        Parameters
        ----------
        adata
            Query with labels, or a corpus; it is not changed.
        reference_model
            A model or its directory.
        labels_key
            Column of `adata.obs`; by default that of the reference model. A corpus knows its labels.
        label_ids
            Cell Ontology ids of labels, as in :meth:`setup_anndata`; those of the reference model stay as they are.
        unfrozen
            Train all weights. By default only those that tell types apart on top of the embedding are trained.

        Raises
        ------
        KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
            When the query cannot be learned from.
        """
        reference = reference_model if isinstance(reference_model, CellTypeClassifier) else cls.load(reference_model)
        if type(reference) is not cls:
            raise ModelFormatError(f"The reference is a {type(reference).__name__}, not a {cls.__name__}.")
        reference._require_trained()
        if isinstance(adata, Corpus):
            part = CorpusReference(adata)
            model = cls(spec=part.continue_from(reference.spec, new_labels=True))  # type: ignore[call-arg]
            model._corpus = part
        else:
            setup = setup_for_query(reference.spec, adata, labels_key, label_ids)
            opened = reference.predictor.open_query(adata)
            query = in_model_genes(adata, opened, reference.spec.features)
            cls.setup_anndata(query, **setup)
            setup = cls._get_most_recent_anndata_manager(query, required=True).registry["setup_args"]
            names = query.obs[setup["labels_key"]].astype(str)
            model = cls(query, spec=spec_for_query(reference.spec, names, setup))  # type: ignore[call-arg]
            model._query_matrix = LearnedMatrix.of(opened.source)
        copy_weights(reference.module, model.module)
        model.gene_importance = reference.gene_importance
        model._has_pretrained_weights = True
        if not unfrozen:
            model._freeze_for_query()
        return model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(chain(self.module.parameters(), self.module.buffers())).device
