"""Registry of the model classes."""

from __future__ import annotations

from os import PathLike

from sctab.errors import ModelFormatError, listing
from sctab.inference import read_spec
from sctab.model._base import CellTypeClassifier
from sctab.model._linear import LinearClassifier
from sctab.model._mlp import MLPClassifier
from sctab.model._sctab import SCTAB
from sctab.model._xgboost import XGBoostClassifier

CLASSES: dict[str, type[CellTypeClassifier]] = {
    "linear": LinearClassifier,
    "mlp": MLPClassifier,
    "xgboost": XGBoostClassifier,
    "sctab": SCTAB,
}
"""Every classifier by its short name, the simplest first."""


def model_classes() -> dict[str, type[CellTypeClassifier]]:
    """Every classifier by the name under which it is stored."""
    return {cls.__name__: cls for cls in CLASSES.values()}


def class_of(dir_path: str | PathLike[str]) -> type[CellTypeClassifier]:
    """The class of the model in a directory.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        As in :meth:`CellTypeClassifier.load`.
    """
    name = read_spec(dir_path).model_class
    classes = model_classes()
    if name not in classes:
        raise ModelFormatError(
            f"`{dir_path}` holds a model of class `{name}`, which this version of sctab does not have. Available: {listing(classes)}."
        )
    return classes[name]
