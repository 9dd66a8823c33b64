"""LinearClassifier: softmax regression."""

from __future__ import annotations

from typing import Any, Literal, final

import pandas as pd
import torch
from anndata import AnnData

from sctab.inference import ModelSpec
from sctab.model._base import CellTypeClassifier
from sctab.model._running import fit
from sctab.model._search import Choice, Range, SearchSpace
from sctab.nn import LinearNetwork
from sctab.train import (
    PUBLISHED_TRAINING,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    fewer_genes_than_cells,
    network_training,
)


@final
class LinearClassifier(CellTypeClassifier):
    """Linear cell type classifier with one weight per type and gene: the baseline for all other models.

    Parameters that are `None` depend on the size of the reference, see :ref:`defaults`; :meth:`paper_settings` returns the published
    settings.

    Parameters
    ----------
    adata
        Reference prepared with :meth:`CellTypeClassifier.setup_anndata`.
    n_top_genes
        Maximum number of genes, the most variable ones; `"all"` uses every gene of the reference.
    spec
        Stored description instead of a reference; used by :meth:`CellTypeClassifier.load`.

    References
    ----------
    Fischer et al., Scaling cross-tissue single-cell annotation models, bioRxiv 2023, :doi:`10.1101/2023.10.07.561331`, "Linear model".

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> sctab.model.LinearClassifier.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> model = sctab.model.LinearClassifier(reference)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    """

    module: LinearNetwork

    def __init__(
        self, adata: AnnData | None = None, *, n_top_genes: int | Literal["all"] | None = None, spec: ModelSpec | None = None
    ) -> None:
        super().__init__(adata, registry=self._stored_registry(adata, spec))
        self._initialise(spec, n_top_genes, {})
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """The published settings: `"model"` for the constructor, `"train"` for :meth:`CellTypeClassifier.train`.

        Examples
        --------
        >>> LinearClassifier.paper_settings()["train"]["learning_rate"]
        0.0005
        """
        return {
            "model": {"n_top_genes": "all"},
            "train": {**PUBLISHED_TRAINING, "learning_rate": 0.0005, "weight_decay": 0.01},
        }

    @classmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        return fewer_genes_than_cells(n_obs)

    @classmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        return {}

    @classmethod
    def _default_training(cls, n_obs: int) -> TrainingSettings:
        return network_training(n_obs, cls.paper_settings()["train"], max_epochs=30, learning_rate=0.002, weight_decay=0.3)

    @classmethod
    def search_space(cls) -> SearchSpace:
        """Search space for tuning.

        Examples
        --------
        >>> sorted(LinearClassifier.search_space().train)
        ['augment', 'gene_dropout', 'l1', 'l2', 'learning_rate', 'weight_decay']
        """
        return SearchSpace(
            model={},
            train={
                "learning_rate": Range(1e-4, 5e-2, log=True),
                "weight_decay": Range(1e-4, 1.0, log=True),
                "gene_dropout": Range(0.0, 0.95),
                "augment": Choice((False, True)),
                "l1": Range(1e-8, 1e-3, log=True),
                "l2": Range(1e-8, 1e-2, log=True),
            },
        )

    def _fit(self, data: TrainingData, settings: TrainingSettings, **options: Any) -> TrainingResult:
        return fit(self, data, settings, **options)

    def _forward(self, values: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.module(values).logits, None

    def _freeze_for_query(self) -> None:
        pass  # all weights tell types apart

    def get_coefficients(self) -> pd.DataFrame:
        """Weight of every gene for every type, on the scale of log1p of 10,000 counts per cell.

        Returns
        -------
        Frame `(n_labels, n_inputs)`, types as index; columns are genes, then antibodies such as `CD3 (protein)`, whose weights
        are per standard deviation, then categories such as `tissue=lung`. Only differences between types matter: adding the same numbers to
        all rows gives the same probabilities.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        """
        self._require_trained()
        return pd.DataFrame(
            self.module.classifier.weight.detach().cpu().numpy(),
            index=pd.Index(self.spec.labels.names, name="type"),
            columns=pd.Index(self.spec.input_names, name="gene"),
        )
