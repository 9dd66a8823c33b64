"""Models by name, to train on and to predict with."""

from __future__ import annotations

from os import PathLike

from sctab.model import AutoClassifier, CellTypeClassifier, DeepEnsemble, SCDeepCluster, load_model
from sctab.zoo._resolve import model_path


def load(
    model: str | PathLike[str] | CellTypeClassifier | DeepEnsemble | AutoClassifier | SCDeepCluster,
    *,
    accelerator: str = "auto",
    device: int | str = "auto",
) -> CellTypeClassifier | DeepEnsemble | SCDeepCluster:
    """A model from whatever names it.

    Parameters
    ----------
    model
        A model, ensemble or clustering, which is returned as it is, or of an `AutoClassifier` the one that it kept; a directory of one; or
        the name of a packaged model. A directory takes precedence over a packaged model of the same name.
    accelerator, device
        Device, as in scvi-tools.

    Raises
    ------
    ModelNotFoundError
        If it is none of these.
    ModelFormatError
        If the directory cannot be read or trusted.
    """
    if isinstance(model, AutoClassifier):
        return model.best
    if isinstance(model, CellTypeClassifier | DeepEnsemble | SCDeepCluster):
        return model
    return load_model(model_path(model), accelerator=accelerator, device=device)
