"""Models by name, to predict with."""

from __future__ import annotations

import inspect
from os import PathLike

from sctab import inference
from sctab.errors import Either, Parameter, SettingError
from sctab.zoo._names import OnHub, parse
from sctab.zoo._resolve import model_path


def load_predictor(model: str | PathLike[str] | inference.HasPredictor, *, accelerator: str = "auto") -> inference.Predictor:
    """A trained model to predict with, from whatever names it; what only training needs is not loaded.

    Parameters
    ----------
    model
        A model or an ensemble, or what :func:`sctab.zoo.fetch` takes: a directory, an archive, a name, a URL. A directory takes
        precedence over a model of the same name.
    accelerator
        Where one that is loaded computes: `"auto"`, a GPU where there is one, `"cpu"`, `"gpu"` or `"mps"`.

    Raises
    ------
    ModelNotFoundError
        If it is none of these.
    ModelFormatError
        If the directory cannot be read or trusted.
    DownloadError
        If it has to be downloaded, and cannot be.
    SettingError
        If the accelerator is not known or not there, if the model holds clusters and not cell types, or if it
        is not a model.
    NotTrainedError
        If it is a model that is not trained.
    """
    if isinstance(model, str | PathLike):
        path, name = model_path(model), f" `{model}`"
        predictor = inference.load_predictor(path, accelerator=accelerator)
        if isinstance(reference := parse(model), OnHub):  # whose directory is named after the commit alone
            predictor.name = f"hf://{reference.repo}@{path.name}"
    elif inspect.getattr_static(model, "predictor", None) is None:
        raise SettingError(
            Parameter("model", type(model)), " is neither a model nor what names one. Provide a name, a directory or a model."
        )
    else:
        predictor, name = model.predictor, ""
    if predictor.spec.is_clustering:
        raise SettingError(
            f"The model{name} holds clusters, which have no names of cell types. ",
            Either(
                "Assign cells to them with `sctab.tl.cluster(adata, model)`", "Assign cells to them with `sctab cluster --model`"
            ),
            ", and annotate the cells with a model of cell types.",
        )
    return predictor
