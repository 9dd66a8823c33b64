"""Trained models for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from sctab.inference import HasPredictor, JaxModel


class PortableModel:
    """A trained model or ensemble that other programs can use."""

    def to_jax(self: HasPredictor, devices: Sequence[Any] | None = None) -> JaxModel:
        """Make pure functions for JAX and a pytree of parameters.

        See :meth:`sctab.inference.Predictor.to_jax`, whose errors are those of this.

        Parameters
        ----------
        devices
            Devices of JAX to compute on; by default all of its default platform.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        """
        return self.predictor.to_jax(devices)

    def export(self: HasPredictor, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write a file that runs without `sctab` and without PyTorch, and a description of it.

        See :meth:`sctab.inference.Predictor.export`, whose errors are those of this.

        Parameters
        ----------
        path
            `model.stablehlo`, for JAX and XLA, or `model.onnx`, for ONNX runtimes.
        overwrite
            Replace existing files.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        """
        self.predictor.export(path, overwrite=overwrite)
