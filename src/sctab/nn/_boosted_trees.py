"""Boosted trees on principal components, in the shape of a network.

Needs XGBoost, which is optional: `pip install 'sctab[xgboost]'`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from sctab.data import PrincipalComponents
from sctab.errors import ModelFormatError, require
from sctab.nn._perceptron import NetworkOutput, require_count
from sctab.nn._trees import ARRAYS, Trees

_PREFIX = "tree_"
EARLIER_TREES = "trees"
"""Name under which the first version of the format has trees."""


class BoostedTrees(nn.Module):
    """Principal components and the trees that vote on them, in the shape of a network whose weights can be stored.

    The trees are plain arrays, see :class:`~sctab.nn._trees.Trees`, in buffers that are empty before training. They are checked when
    they are loaded.

    Parameters
    ----------
    n_vars, n_classes, n_components
        Genes, cell types and principal components.
    n_covariates
        Number of covariate inputs after the genes.
    """

    mean: Tensor
    loadings: Tensor

    def __init__(self, n_vars: int, n_classes: int, *, n_components: int, n_covariates: int = 0) -> None:
        super().__init__()
        require_count("n_components", n_components, 1)
        self.n_classes = n_classes
        self.n_inputs = min(n_components, n_vars) + n_covariates
        self.register_buffer("mean", torch.zeros(n_vars))
        self.register_buffer("loadings", torch.zeros(min(n_components, n_vars), n_vars))
        for name, kind in ARRAYS.items():
            self.register_buffer(_PREFIX + name, torch.zeros(0, dtype=getattr(torch, kind)))
        self._booster: Any = None

    def forward(self, values: Tensor) -> NetworkOutput:
        """Logits and principal components of normalised expression and covariates, `(n_obs, n_inputs)`."""
        expression, covariates = values.tensor_split([len(self.mean)], dim=1)
        embedding = (expression - self.mean) @ self.loadings.T
        if not self.has_trees:
            return NetworkOutput(torch.zeros(len(values), self.n_classes, device=values.device), embedding)
        margins = self.booster.inplace_predict(torch.cat([embedding, covariates], dim=1).cpu().numpy(), predict_type="margin")
        return NetworkOutput(torch.from_numpy(np.asarray(margins)).reshape(-1, self.n_classes).to(values.device), embedding)

    @property
    def has_trees(self) -> bool:
        """Return whether trees have grown."""
        return self.get_buffer(f"{_PREFIX}sizes").numel() > 0

    @property
    def booster(self) -> Any:
        """The trees as an `xgboost.Booster`.

        Raises
        ------
        ModelFormatError
            If the stored arrays are not trees.
        """
        if self._booster is None:
            xgboost = require("xgboost", extra="xgboost")
            trees = Trees(**{name: self.get_buffer(_PREFIX + name).cpu().numpy() for name in ARRAYS})
            self._check(trees)
            try:
                self._booster = xgboost.Booster(model_file=trees.to_ubjson(self.n_inputs, self.n_classes))
            except xgboost.core.XGBoostError as error:
                raise ModelFormatError("The stored trees cannot be read by XGBoost. Copy the model again.") from error
        return self._booster

    def keep(self, booster: Any) -> None:
        """Take trees over."""
        for name, tensor in _buffers(Trees.from_ubjson(bytes(booster.save_raw("ubj")))).items():
            setattr(self, name, tensor.to(self.mean.device))
        self._booster = None

    def project(self, block: sparse.csr_matrix) -> NDArray[np.float32]:
        """Principal components of sparse normalised expression, `(n_obs, n_components)`."""
        return PrincipalComponents(self.mean.cpu().numpy(), self.loadings.cpu().numpy()).project(block)

    def _check(self, trees: Trees) -> None:
        try:
            trees.check(self.n_inputs, self.n_classes)
        except ValueError as error:
            raise ModelFormatError(f"The trees of the model are damaged: {error}. Train again, or copy the model again.") from error

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if (content := state_dict.pop(f"{prefix}{EARLIER_TREES}", None)) is not None:
            state_dict |= {prefix + name: tensor for name, tensor in self._read_earlier(content).items()}
        arrays = {name: state_dict.get(f"{prefix}{_PREFIX}{name}", self.get_buffer(_PREFIX + name)) for name in ARRAYS}
        if len(arrays["sizes"]):
            self._check(Trees(**{name: tensor.cpu().numpy() for name, tensor in arrays.items()}))
        for name, tensor in arrays.items():  # there are as many as there are
            setattr(self, _PREFIX + name, torch.empty_like(tensor))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._booster = None

    def _read_earlier(self, content: Tensor) -> dict[str, Tensor]:
        """Buffers from bytes that XGBoost wrote, which the first version of the format had."""
        if not len(content):
            return {}
        try:
            return _buffers(Trees.from_ubjson(content.cpu().numpy().tobytes()))
        except ValueError as error:
            raise ModelFormatError(f"The trees of the model cannot be read: {error}. Copy the model again.") from error


def _buffers(trees: Trees) -> dict[str, Tensor]:
    return {_PREFIX + name: torch.from_numpy(np.ascontiguousarray(getattr(trees, name))) for name in ARRAYS}
