"""MLPClassifier: a multi-layer perceptron."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from anndata import AnnData

from sctab.inference import ModelSpec
from sctab.model._base import CellTypeClassifier
from sctab.model._running import fit
from sctab.model._search import Choice, Range, SearchSpace
from sctab.train import (
    LARGE_REFERENCE,
    PUBLISHED_TRAINING,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    fewer_genes_than_cells,
    network_training,
)


@final
class MLPClassifier(CellTypeClassifier):
    """Multi-layer perceptron classifier: linear layers with batch norm, SiLU and dropout.

    Parameters that are `None` depend on the size of the reference, see :ref:`defaults`; :meth:`paper_settings` returns the published
    settings.

    Parameters
    ----------
    adata
        Reference prepared with :meth:`CellTypeClassifier.setup_anndata`.
    n_top_genes
        Maximum number of genes, the most variable ones; `"all"` uses every gene of the reference.
    n_layers, n_hidden
        Number of hidden layers and their width.
    dropout
        Fraction of the hidden units set to zero in training.
    spec
        Stored description instead of a reference; used by :meth:`CellTypeClassifier.load`.

    References
    ----------
    Fischer et al., Scaling cross-tissue single-cell annotation models, bioRxiv 2023, :doi:`10.1101/2023.10.07.561331`, "Multi-layer
    perceptron model".

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> sctab.model.MLPClassifier.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> model = sctab.model.MLPClassifier(reference, n_layers=2)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    """

    def __init__(
        self,
        adata: AnnData | None = None,
        *,
        n_top_genes: int | Literal["all"] | None = None,
        n_layers: int | None = None,
        n_hidden: int | None = None,
        dropout: float | None = None,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__(adata, registry=self._stored_registry(adata, spec))
        self._initialise(spec, n_top_genes, {"n_layers": n_layers, "n_hidden": n_hidden, "dropout": dropout})
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def paper_settings(cls) -> dict[str, dict[str, Any]]:
        """The published settings: `"model"` for the constructor, `"train"` for :meth:`CellTypeClassifier.train`.

        For its main comparison the paper also augments training cells: add `augment=True`, which needs donors.

        Examples
        --------
        >>> MLPClassifier.paper_settings()["model"]["n_layers"]
        8
        """
        return {
            "model": {"n_top_genes": "all", "n_layers": 8, "n_hidden": 128, "dropout": 0.1},
            "train": {**PUBLISHED_TRAINING, "learning_rate": 0.002, "weight_decay": 0.05},
        }

    @classmethod
    def _default_n_genes(cls, n_obs: int) -> int | None:
        return fewer_genes_than_cells(n_obs)

    @classmethod
    def _default_architecture(cls, n_obs: int) -> dict[str, Any]:
        published = {key: value for key, value in cls.paper_settings()["model"].items() if key != "n_top_genes"}
        return published if n_obs >= LARGE_REFERENCE else published | {"n_layers": 1, "dropout": 0.5}

    @classmethod
    def _default_training(cls, n_obs: int) -> TrainingSettings:
        return network_training(n_obs, cls.paper_settings()["train"], max_epochs=30)

    @classmethod
    def search_space(cls) -> SearchSpace:
        """Search space for tuning.

        Examples
        --------
        >>> MLPClassifier.search_space().model["n_layers"]
        Range(low=1, high=8, log=False)
        """
        return SearchSpace(
            model={"n_layers": Range(1, 8), "n_hidden": Range(32, 512, log=True), "dropout": Range(0.0, 0.5)},
            train={
                "learning_rate": Range(1e-4, 2e-2, log=True),
                "weight_decay": Range(1e-4, 1.0, log=True),
                "gene_dropout": Range(0.0, 0.95),
                "augment": Choice((False, True)),
                "l1": Range(1e-9, 1e-4, log=True),
                "l2": Range(1e-9, 1e-3, log=True),
            },
        )

    def _fit(self, data: TrainingData, settings: TrainingSettings, **options: Any) -> TrainingResult:
        return fit(self, data, settings, **options)

    def _forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.module(values)
        return output.logits, output.embedding

    def _freeze_for_query(self) -> None:
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name.startswith("classifier."))
