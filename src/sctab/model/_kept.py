"""Prediction with the classifier that a comparison kept."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.errors import NotTrainedError
from sctab.inference import ModelSpec, Predictor
from sctab.model._base import CellTypeClassifier


class KeptModel:
    """One of several classifiers, which is used as if it were the only one."""

    _best: CellTypeClassifier | None = None

    @property
    def predictor(self) -> Predictor:
        """The classifier that was kept, to predict with; errors as in :attr:`best`."""
        return self.best.predictor

    @property
    def best(self) -> CellTypeClassifier:
        """The model that was kept.

        Raises
        ------
        NotTrainedError
            Before :meth:`train`.
        """
        if self._best is None:
            raise NotTrainedError("No model was chosen yet. Call `train()` first.")
        return self._best

    @property
    def spec(self) -> ModelSpec:
        """Description of the model that was kept."""
        return self.best.spec

    @property
    def history(self) -> Any:
        """Training history of the model that was kept."""
        return self.best.history

    def predict(self, adata: AnnData | None = None, **kwargs: Any) -> NDArray[np.object_] | pd.DataFrame:
        """Predict the cell type of every cell; see :meth:`CellTypeClassifier.predict`.

        Parameters
        ----------
        adata, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        return self.best.predict(adata, **kwargs)

    def get_latent_representation(self, adata: AnnData | None = None, **kwargs: Any) -> NDArray[np.float32]:
        """Compute the embedding before the output layer; see :meth:`CellTypeClassifier.get_latent_representation`.

        Parameters
        ----------
        adata, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        return self.best.get_latent_representation(adata, **kwargs)

    def save(self, dir_path: str | PathLike[str], **kwargs: Any) -> None:
        """Write the model that was kept; see :meth:`CellTypeClassifier.save`.

        Parameters
        ----------
        dir_path, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        self.best.save(dir_path, **kwargs)

    def deregister_manager(self, adata: AnnData | None = None) -> None:
        """Release a reference, so that its memory can be used again; see :meth:`scvi.model.base.BaseModelClass.deregister_manager`.

        Parameters
        ----------
        adata
            The reference.
        """
        self.best.deregister_manager(adata)
