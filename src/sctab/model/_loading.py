"""Loading what a directory holds: a model, whose class it tells, or an ensemble."""

from __future__ import annotations

from os import PathLike

from sctab.inference import is_ensemble, read_spec
from sctab.model._base import CellTypeClassifier
from sctab.model._classes import class_of
from sctab.model._ensemble import DeepEnsemble
from sctab.model._scdeepcluster import SCDeepCluster


def load_model(
    dir_path: str | PathLike[str], *, accelerator: str = "auto", device: int | str = "auto"
) -> CellTypeClassifier | DeepEnsemble | SCDeepCluster:
    """Load a model of any class, a clustering or an ensemble.

    Parameters
    ----------
    dir_path
        Directory of the model.
    accelerator, device
        Device, as in scvi-tools.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        As in :meth:`CellTypeClassifier.load`.
    """
    if is_ensemble(dir_path):
        return DeepEnsemble.load(dir_path, accelerator=accelerator, device=device)
    if read_spec(dir_path).is_clustering:
        return SCDeepCluster.load(dir_path, accelerator=accelerator, device=device)
    return class_of(dir_path).load(dir_path, accelerator=accelerator, device=device)
