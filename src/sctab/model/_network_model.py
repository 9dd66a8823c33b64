"""Common base of the models that are trained through scvi-tools: description, network, and directory on disk."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from os import PathLike
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scvi.model.base import BaseModelClass
from torch import nn

from sctab.errors import ModelFormatError, NotTrainedError, SettingError
from sctab.inference import (
    EARLIER_WEIGHTS,
    NO_ARRAYS,
    Arrays,
    ModelSpec,
    Predictor,
    StoredModel,
    build_network,
    read_model,
    take_weights,
    write_model,
)
from sctab.io import as_path
from sctab.model._hub import HubModel
from sctab.model._portable import PortableModel
from sctab.model._setup import single_device
from sctab.train import is_first_process, seeded, stored_history


class NetworkModel(PortableModel, HubModel, BaseModelClass):
    """A model with a description and a network. Its classes say how they are set up, trained and used."""

    spec: ModelSpec
    module: nn.Module
    gene_importance: NDArray[np.float32]
    history_: Any

    @classmethod
    def _stored_registry(cls, adata: AnnData | None, spec: ModelSpec | None) -> dict[str, Any] | None:
        """Registry for scvi-tools of a model without a reference; `None` if it has one."""
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

    def _take_spec(self, spec: ModelSpec) -> None:
        """Be an untrained model with a description."""
        self.spec = spec
        with seeded(0):
            self.module = self._new_network()
        self.module.eval()
        self.gene_importance = np.full(len(spec.features), 1 / len(spec.features), dtype=np.float32)
        self.name = ""
        self.sha256: str | None = None
        self._arrays: Arrays = NO_ARRAYS
        self._has_pretrained_weights = False
        self._n_new_labels = 0
        self._model_summary_string = spec.summary

    def _new_network(self) -> nn.Module:
        try:
            return build_network(self.spec)
        except (TypeError, ValueError) as error:
            raise SettingError(f"The architecture is invalid: {error}") from error

    @property
    def predictor(self) -> Predictor:
        """The model as it is now, to predict with.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        """
        self._require_trained()
        return Predictor(self.spec, [self.module], self.gene_importance, name=self.name, sha256=self.sha256, arrays=self._arrays)

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotTrainedError("The model is not trained. Call `model.train()` first, or `load` a trained one.")

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(chain(self.module.parameters(), self.module.buffers())).device

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False, description: str | None = None) -> None:
        """Save the model to a directory with `model.safetensors` and `model.json`; no pickle, and all or nothing.

        Parameters
        ----------
        dir_path
            Output directory.
        overwrite
            Replace an existing model or ensemble. Anything else is never replaced.
        description
            One-line description of the model; `None` keeps the current one.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        OutputExistsError, OutputError
            If the output already exists, or if it cannot be written.
        """
        self._require_trained()
        if not is_first_process():  # the others have the same
            return
        spec = self.spec if description is None else replace(self.spec, description=description)
        self.sha256 = write_model(
            dir_path, spec, self.module.state_dict(), self.gene_importance, arrays=self._arrays, overwrite=overwrite
        )
        self.spec = spec

    @classmethod
    def _read(cls, dir_path: str | PathLike[str]) -> StoredModel:
        """Content of a directory that holds a model of this class."""

        def network_of(spec: ModelSpec) -> nn.Module:
            if spec.model_class != cls.__name__:
                raise ModelFormatError(
                    f"`{dir_path}` holds a {spec.model_class}, not a {cls.__name__}. Use `sctab.model.{spec.model_class}.load`."
                )
            return build_network(spec)

        return read_model(dir_path, network_of, earlier=EARLIER_WEIGHTS)

    def _take_stored(self, stored: StoredModel, dir_path: str | PathLike[str], accelerator: str, device: int | str) -> None:
        """Be the trained model that was stored in a directory, on a device."""
        take_weights(self.module, stored.weights, where=dir_path)
        self.gene_importance = stored.importance
        self._arrays = stored.arrays
        self.name = as_path(dir_path).resolve().name
        self.sha256 = stored.sha256
        self.history_ = stored_history(stored.spec.training)
        self.is_trained_ = True
        self.to_device(single_device(accelerator, device))
