"""SCTAB: the TabNet classifier of scTab."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from anndata import AnnData
from scipy import sparse

from sctab.inference import DENSE_BATCH_SIZE, ModelSpec, require_batch_size
from sctab.model._base import CellTypeClassifier
from sctab.model._prediction import open_own_or
from sctab.model._running import fit
from sctab.model._search import Choice, Range, SearchSpace
from sctab.nn import TabNet
from sctab.train import (
    LARGE_REFERENCE,
    PUBLISHED_TRAINING,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    fewer_genes_than_cells,
    network_training,
)

_FEWEST_STEPS = 400
"""Steps of the optimiser that it takes until the running statistics of the batch norms (momentum 0.01) have settled."""


@final
class SCTAB(CellTypeClassifier):
    """TabNet classifier with 1.5-entmax attention, which selects genes per cell (Fischer et al. 2023).

    Parameters that are `None` depend on the size of the reference, see :ref:`defaults`; :meth:`paper_settings` returns the published
    settings.

    Parameters
    ----------
    adata
        Reference prepared with :meth:`setup_anndata`.
    n_top_genes
        Maximum number of genes, the most variable ones; `"all"` uses every gene of the reference.
    n_d, n_a
        Width of the decision and of the attention embedding.
    n_shared, n_independent
        Gated linear layers that are shared between feature transformers, and that are not.
    n_steps
        Decision steps.
    gamma
        Prior relaxation: at 1 a gene can be used in one step only.
    mask_type
        `"entmax"` or `"sparsemax"`.
    virtual_batch_size
        Cells per virtual batch of the ghost batch norms.
    lambda_sparse
        Weight of the mask entropy in the loss.
    dense_decision
        Add a decision that sees all genes without a mask, see :class:`sctab.nn.TabNet`.
    spec
        Stored description instead of a reference; used by :meth:`load`.

    References
    ----------
    Fischer et al., Scaling cross-tissue single-cell annotation models, bioRxiv 2023, :doi:`10.1101/2023.10.07.561331`.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> sctab.model.SCTAB.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> model = sctab.model.SCTAB(reference)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    """

    module: TabNet

    def __init__(
        self,
        adata: AnnData | None = None,
        *,
        n_top_genes: int | Literal["all"] | None = None,
        n_d: int | None = None,
        n_a: int | None = None,
        n_shared: int | None = None,
        n_independent: int | None = None,
        n_steps: int | None = None,
        gamma: float | None = None,
        mask_type: str | None = None,
        virtual_batch_size: int | None = None,
        lambda_sparse: float | None = None,
        dense_decision: bool | None = None,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__(adata, registry=self._stored_registry(adata, spec))
        requested = {
            "n_d": n_d,
            "n_a": n_a,
            "n_shared": n_shared,
            "n_independent": n_independent,
            "n_steps": n_steps,
            "gamma": gamma,
            "mask_type": mask_type,
            "virtual_batch_size": virtual_batch_size,
            "lambda_sparse": lambda_sparse,
            "dense_decision": dense_decision,
        }
        self._initialise(spec, n_top_genes, requested)
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """The published settings: `"model"` for the constructor, `"train"` for :meth:`train`.

        For its main comparison the paper also augments training cells: add `augment=True`, which needs donors.

        Examples
        --------
        >>> SCTAB.paper_settings()["model"]["n_d"], SCTAB.paper_settings()["train"]["batch_size"]
        (128, 2048)
        """
        return {
            "model": {
                "n_top_genes": "all",
                "n_d": 128,
                "n_a": 64,
                "n_shared": 3,
                "n_independent": 5,
                "n_steps": 1,
                "gamma": 1.3,
                "mask_type": "entmax",
                "virtual_batch_size": 256,
                "lambda_sparse": 1e-5,
                "dense_decision": False,
            },
            "train": {**PUBLISHED_TRAINING, "learning_rate": 0.005, "weight_decay": 0.05},
        }

    @classmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        return fewer_genes_than_cells(n_obs)

    @classmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        published = {key: value for key, value in cls.paper_settings()["model"].items() if key != "n_top_genes"}
        if n_obs >= LARGE_REFERENCE:
            return published
        return published | {
            "n_shared": 1,
            "n_independent": 1,
            "virtual_batch_size": 128,
            "dense_decision": True,
        }

    @classmethod
    def _default_training(cls, n_obs: int) -> TrainingSettings:
        return network_training(
            n_obs, cls.paper_settings()["train"], max_epochs=max(20, min(100, -(-_FEWEST_STEPS * 128 // n_obs))), weight_decay=0.3
        )

    @classmethod
    def search_space(cls) -> SearchSpace:
        """Search space for tuning.

        Examples
        --------
        >>> SCTAB.search_space().train["learning_rate"]
        Range(low=0.0005, high=0.02, log=True)
        """
        return SearchSpace(
            model={
                "n_d": Choice((16, 32, 64, 128)),
                "n_a": Choice((16, 32, 64)),
                "n_shared": Range(1, 3),
                "n_independent": Range(1, 5),
                "dense_decision": Choice((True, False)),
            },
            train={
                "learning_rate": Range(5e-4, 2e-2, log=True),
                "weight_decay": Range(1e-3, 1.0, log=True),
                "gene_dropout": Range(0.0, 0.95),
                "augment": Choice((False, True)),
                "l1": Range(1e-9, 1e-5, log=True),
                "l2": Range(1e-9, 1e-4, log=True),
            },
        )

    def _fit(self, data: TrainingData, settings: TrainingSettings, **options: Any) -> TrainingResult:
        lambda_sparse = self.spec.architecture["lambda_sparse"]
        return fit(self, data, settings, penalty=lambda output: -lambda_sparse * output.mask_loss, **options)

    def _forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.module(values)
        return output.logits, output.embedding

    def _freeze_for_query(self) -> None:
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name.startswith("classifier."))

    def get_feature_mask(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = DENSE_BATCH_SIZE
    ) -> sparse.csr_matrix:
        """Get the genes selected by the attention per cell: the feature mask, averaged over the decision steps.

        :meth:`explain` weights the masks by their decisions.

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
        CSR matrix `(n_obs, n_vars)` over the genes of the model, in the order of `model.spec.features`. Rows sum to one, or to less where
        the network looked at covariates too.

        Raises
        ------
        NotTrainedError, InputValueError, KeyNotFoundError, GeneOverlapError
            As in :meth:`predict`.
        """
        require_batch_size(batch_size)
        _, query = open_own_or(self, self.predictor, adata, layer)
        masks = []
        with torch.inference_mode():
            for block in query.blocks(batch_size):
                output = self.module(torch.from_numpy(block.toarray()).to(self.device))
                masks.append(self._of_genes(torch.stack(output.masks).mean(dim=0)))
        return sparse.vstack(masks, format="csr")

    def _of_genes(self, values: torch.Tensor) -> sparse.csr_matrix:
        """Of values for each input those for genes, `(n_obs, n_vars)`: covariates follow."""
        return sparse.csr_matrix(values[:, : len(self.spec.features)].cpu().numpy())
