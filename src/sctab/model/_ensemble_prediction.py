"""Prediction with the members of an ensemble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray

from sctab.errors import NotTrainedError
from sctab.inference import BATCH_SIZE, NO_ARRAYS, Arrays, Calibration, ModelSpec, Predictor, hash_of_members
from sctab.model._base import CellTypeClassifier
from sctab.model._portable import PortableModel
from sctab.model._prediction import latent_of, predict


class PredictingEnsemble(PortableModel):
    """Trained members that predict together."""

    model_class: type[CellTypeClassifier]
    name: str = ""
    calibration: Calibration | None = None
    _members: tuple[CellTypeClassifier, ...] = ()
    _arrays: Arrays = NO_ARRAYS

    @property
    def members(self) -> tuple[CellTypeClassifier, ...]:
        """The trained models.

        Raises
        ------
        NotTrainedError
            Before :meth:`train`.
        """
        if not self._members:
            raise NotTrainedError("The ensemble is not trained. Call `ensemble.train()` first, or `load` a trained one.")
        return self._members

    @property
    def is_trained(self) -> bool:
        """Return whether there is something to predict with."""
        return bool(self._members)

    @property
    def spec(self) -> ModelSpec:
        """Description of the first member; genes, labels and scale are those of all, and the calibration is that of the ensemble."""
        return replace(self.members[0].spec, calibration=self.calibration)

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """Training history, one column per member."""
        histories = [member.history for member in self.members]
        return {
            name: pd.concat([history[name].iloc[:, 0].rename(f"member_{i}") for i, history in enumerate(histories)], axis=1)
            for name in histories[0]
        }

    @property
    def sha256(self) -> str | None:
        """Hash of the members' hashes; `None` when one of them was not saved since it last changed."""
        hashes = [member.sha256 for member in self.members]
        return None if None in hashes else hash_of_members([str(each) for each in hashes])

    @property
    def gene_importance(self) -> NDArray[np.float32]:
        """Mean of the members' importance of each gene, `(n_vars,)`, summing to one."""
        return np.mean([member.gene_importance for member in self.members], axis=0)

    @property
    def predictor(self) -> Predictor:
        """The members as they are now, to predict with.

        Raises
        ------
        NotTrainedError
            Before :meth:`train`.
        """
        networks = [member.module for member in self.members]
        return Predictor(self.spec, networks, self.gene_importance, name=self.name, sha256=self.sha256, arrays=self._arrays)

    def predict(
        self, adata: AnnData | None = None, *, soft: bool = False, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.object_] | pd.DataFrame:
        """Predict the cell type of every cell from the mean of the members' probabilities; see :meth:`CellTypeClassifier.predict`.

        Parameters
        ----------
        adata, soft, layer, batch_size
            As in :class:`CellTypeClassifier`.
        """
        return predict(self, adata, layer, soft=soft, batch_size=batch_size)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Concatenate the embeddings of the members, `(n_obs, n_members * n_latent)`.

        Each member has axes of its own, so that there is no mean of them; distances in all of them together are as good as in one.

        Parameters
        ----------
        adata, layer, batch_size
            As in :meth:`predict`.

        Raises
        ------
        SettingError
            If the members have no latent space.
        """
        return latent_of(self, adata, layer, batch_size=batch_size)

    def to_device(self, device: str | int | torch.device) -> None:
        """Move all members; see :meth:`scvi.model.base.BaseModelClass.to_device`."""
        for member in self.members:
            member.to_device(device)

    def deregister_manager(self, adata: AnnData | None = None) -> None:
        """Release a reference, so that its memory can be used again; see :meth:`scvi.model.base.BaseModelClass.deregister_manager`.

        Parameters
        ----------
        adata
            The reference.
        """
        for member in self.members:
            if member.adata is not None:
                self.model_class.register_manager(member.adata_manager)  # the one of the class goes with the first member
                member.deregister_manager(adata)
