"""Abstract methods of a model class, construction and prediction."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from scvi.data import AnnDataManager

from sctab.data import RNA, is_mudata, require_anndata
from sctab.errors import InputTypeError
from sctab.inference import (
    BATCH_SIZE,
    DENSE_BATCH_SIZE,
    ModelSpec,
)
from sctab.model._network_model import NetworkModel
from sctab.model._prediction import explain, latent_of, predict
from sctab.model._search import SearchSpace
from sctab.model._setup import reference_fields
from sctab.train import (
    CommonSettings,
    MemoryReference,
    Reference,
    TrainingData,
    TrainingResult,
)

if TYPE_CHECKING:
    from mudata import MuData


class DescribedModel(NetworkModel):
    """A classifier with a description and a network. What a class has to implement is abstract."""

    @classmethod
    @abstractmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        """Keyword arguments of the network for a reference of `n_obs` labelled cells."""

    @classmethod
    @abstractmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        """Maximum number of genes for such a reference; `None` for all."""

    @classmethod
    @abstractmethod
    def _default_training(cls, n_obs: int) -> CommonSettings:
        """Default training settings for such a reference."""

    @classmethod
    @abstractmethod
    def search_space(cls) -> SearchSpace:
        """Search space for tuning: ranges of settings for the constructor and for :meth:`train`."""

    @classmethod
    @abstractmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """Settings of Fischer et al. (2023): `"model"` for the constructor and `"train"` for :meth:`train`."""

    @abstractmethod
    def _fit(self, data: TrainingData, settings: Any, **options: Any) -> TrainingResult:
        """Train `module` and leave it with the weights to keep; `settings` are of the class that :meth:`_default_training` gives."""

    @abstractmethod
    def _forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits `(n_obs, n_labels)` and latent `(n_obs, n_latent)`, if any, of the input `(n_obs, n_inputs)`, see `ModelSpec`."""

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
        dataset_key: str | None = None,
        unlabeled_category: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set up an annotated reference: columns of labels and donors, and the matrix of counts.

        Parameters
        ----------
        adata
            Reference, `(n_obs, n_vars)`. Raw counts are preferred; normalised and log1p values are rescaled.
        labels_key
            Column of `adata.obs` with cell types.
        layer
            Layer with the counts, or `"X"` or `"raw"`, whose genes are then those of `raw.var`; `X` by default.
        donor_key
            Column of `adata.obs` with donors. With at least three donors, validation holds out whole donors, which measures performance on
            new donors.
        dataset_key
            Column of `adata.obs` with datasets, such as studies. With two or more, the model is calibrated on whole datasets, which
            measures how far to trust it in a new one.
        unlabeled_category
            Value of `labels_key` that means "no label"; such cells are excluded from training. By default, a single string that cannot be a
            cell type, such as `nan` or an empty string, is used, with a warning.
        label_ids
            Cell Ontology ids of labels, by label, or a file of them, see :func:`sctab.ontology.read_label_map`; `None` for a label without
            an id. Other labels are looked up, see :meth:`sctab.ontology.CellOntology.resolve`.
        categorical_covariate_keys
            Columns of `adata.obs` used as covariates, such as the tissue. In training they are hidden from a random half of the cells
            (`covariate_dropout`), so that cells with a missing or unknown category can be annotated too.
        gene_id_key, gene_symbol_key
            Columns of `adata.var` with Ensembl ids and gene symbols; detected by default.
        **kwargs
            Passed to :meth:`scvi.data.AnnDataManager.register_fields`.

        Raises
        ------
        InputTypeError
            If `adata` is not an AnnData.
        KeyNotFoundError
            If a column or layer does not exist.
        LabelError
            If labels or donors are missing (NaN, or strings such as `nan`); if there are not two types; if results could not be
            stored under the labels, such as `A/B` beside `A|B`; or if `unlabeled_category` is a label in another spelling.
        GeneOverlapError
            If the genes are in the rows.
        InputValueError
            If there are no cells, or if the matrix holds no counts nor anything convertible to counts.
        """
        require_anndata(adata, fix="Use `setup_mudata` for a MuData.")
        reference = MemoryReference.of(
            adata,
            labels_key,
            layer=layer,
            donor_key=donor_key,
            dataset_key=dataset_key,
            unlabeled_category=unlabeled_category,
            label_ids=label_ids,
            categorical_covariate_keys=categorical_covariate_keys,
            gene_id_key=gene_id_key,
            gene_symbol_key=gene_symbol_key,
        )
        cls._register(adata, reference.setup, **kwargs)

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        labels_key: str,
        *,
        modalities: Mapping[str, str] | None = None,
        layer: str | None = None,
        protein_layer: str | None = None,
        donor_key: str | None = None,
        dataset_key: str | None = None,
        unlabeled_category: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set up an annotated reference of gene expression and surface proteins, such as CITE-seq, see :doc:`/proteins`.

        The model also annotates cells of which no protein was measured, or some of them: in training, antibodies are hidden from a part of
        the cells (`protein_dropout`).

        Parameters
        ----------
        mdata
            Reference, with modalities of the same cells. Columns of `obs` are those of `mdata.obs`, or of the gene expression.
        labels_key
            Column with cell types.
        modalities
            Modality of each role: `{"rna": "rna", "protein": "prot"}`. By default they are found by their features. Without `protein` the
            model learns gene expression alone.
        layer, donor_key, dataset_key, unlabeled_category, label_ids, categorical_covariate_keys, gene_id_key, gene_symbol_key
            As in :meth:`setup_anndata`; `layer` and `var` are those of the gene expression.
        protein_layer
            Layer with the counts of the antibodies; `X` by default. Counts become centred log ratios per cell; values that are
            normalised already are noticed.
        **kwargs
            Passed to :meth:`scvi.data.AnnDataManager.register_fields`.

        Raises
        ------
        InputTypeError
            If `mdata` is not a MuData.
        KeyNotFoundError, SettingError
            If a modality or a layer does not exist, or a role is unknown.
        LabelError, GeneOverlapError, InputValueError
            As in :meth:`setup_anndata`; or if the modality of proteins holds something else, such as peaks.
        """
        if not is_mudata(mdata):
            raise InputTypeError(
                f"`setup_mudata` needs a MuData, and this is an object of the class `{type(mdata).__name__}`. Use `setup_anndata` for an "
                "AnnData."
            )
        reference = MemoryReference.of(
            mdata,
            labels_key,
            modalities=modalities,
            layer=layer,
            protein_layer=protein_layer,
            donor_key=donor_key,
            dataset_key=dataset_key,
            unlabeled_category=unlabeled_category,
            label_ids=label_ids,
            categorical_covariate_keys=categorical_covariate_keys,
            gene_id_key=gene_id_key,
            gene_symbol_key=gene_symbol_key,
        )
        reference.require_proteins()
        cls._register(mdata, reference.setup, **kwargs)

    @classmethod
    def _register(cls, adata: AnnData | MuData, setup: Mapping[str, Any], **kwargs: Any) -> None:
        """Write into the registry of scvi-tools, for its users, what can be learned from; nothing else reads it."""
        keys = {name: setup[name] for name in ("layer", "donor_key", "unlabeled_category")}
        cells = {"mdata" if is_mudata(adata) else "adata": adata}
        modality = setup["modalities"][RNA] if is_mudata(adata) else None
        manager = AnnDataManager(
            fields=reference_fields(adata, setup["labels_key"], modality=modality, **keys),
            setup_method_args=cls._get_setup_method_args(cls=cls, **cells, **setup),
        )
        with warnings.catch_warnings():  # types with few cells are reported by name when the model is made
            warnings.filterwarnings("ignore", message=r"Category \d+ in adata.obs.* has fewer than 3 cells")
            manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    def _initialise(self, spec: ModelSpec | None, n_top_genes: int | str | None, requested: Mapping[str, Any]) -> None:
        """Genes, labels and an untrained network: from the reference, or from a `spec` that was stored."""
        self._reference: Reference | None = None
        if self.adata is not None:
            self._reference = MemoryReference.from_setup(self.adata, dict(self.registry["setup_args"]))
        if spec is None:
            spec = self._describe(self._reference, n_top_genes, requested)
        self._take_spec(spec)

    @classmethod
    def _describe(cls, reference: Any, n_top_genes: int | str | None, requested: Mapping[str, Any]) -> ModelSpec:
        """An untrained model of a reference; what is not requested follows from its size."""
        n_obs = reference.n_obs
        return reference.describe(
            cls.__name__,
            n_top_genes=cls._default_n_genes(n_obs) if n_top_genes is None else n_top_genes,
            architecture=cls._default_architecture(n_obs) | {key: value for key, value in requested.items() if value is not None},
        )

    # ------------------------------------------------------------------------------------------------- prediction

    def predict(
        self, adata: AnnData | None = None, *, soft: bool = False, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.object_] | pd.DataFrame:
        """Predict the cell type of every cell.

        Genes are matched by name, in any order and number.

        Parameters
        ----------
        adata
            Query; by default the reference.
        soft
            Return probabilities instead of labels.
        layer
            Layer to use, or `"X"` or `"raw"`; by default counts are detected.
        batch_size
            Cells per batch.

        Returns
        -------
        Labels, `(n_obs,)`, with `NaN` for cells without a count in the model's genes; or with `soft` a frame of probabilities,
        `(n_obs, n_labels)`, indexed by cell, one column per label.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        InputValueError, KeyNotFoundError, GeneOverlapError
            If the data cannot be annotated.
        """
        return predict(self, adata, layer, soft=soft, batch_size=batch_size)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Compute the embedding before the output layer, `(n_obs, n_latent)`; parameters and errors as in :meth:`predict`.

        Raises
        ------
        SettingError
            If the model has no latent space.
        """
        return latent_of(self, adata, layer, batch_size=batch_size)

    def explain(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = DENSE_BATCH_SIZE
    ) -> sparse.csr_matrix:
        """Compute the contribution of each gene to the decision on each cell.

        Models that select genes per cell can be explained: `SCTAB`, trained here or imported. It is the feature mask of each step
        times the resulting decision, summed over the steps (Arik and Pfister 2021,
        :doi:`10.1609/aaai.v35i8.16826`). With `dense_decision`, what the decision without a mask adds is shared out among the genes whose
        expression speaks for the predicted type, see :meth:`sctab.nn.TabNet.explain`. What the weights mean is on the page
        :doc:`/explaining`; :func:`sctab.tl.explain` sums them up by cell and by type.

        Parameters
        ----------
        adata
            Query; by default the reference.
        layer
            Layer to use; by default counts are detected.
        batch_size
            Cells per batch.

        Returns
        -------
        CSR matrix `(n_obs, n_vars)` over the genes of the model, in the order of `model.spec.features`, non-negative; columns of its
        antibodies follow, if it has any. A row sums to the sum of the cell's embedding, or to less where the network looked at covariates
        too: compare genes within a cell, or divide rows by their sums. It is zero for a cell without a count in the model's genes.

        Raises
        ------
        NotTrainedError, InputValueError, KeyNotFoundError, GeneOverlapError
            As in :meth:`predict`.
        SettingError
            If the model does not select genes per cell, or if `batch_size` is less than one.
        """
        return explain(self, adata, layer, batch_size=batch_size)
