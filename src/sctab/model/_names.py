"""Model classes by their short names, which command lines show without loading the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctab.errors import SettingError, listing
from sctab.model._class_names import MODEL_NAMES, meant_model

if TYPE_CHECKING:
    from sctab.model._auto import AutoClassifier
    from sctab.model._base import CellTypeClassifier


def model_by_name(name: str) -> type[CellTypeClassifier] | type[AutoClassifier]:
    """The model class of a short name: `"linear"`, `"mlp"`, `"xgboost"`, `"sctab"` or `"auto"`.

    Parameters
    ----------
    name
        One of `MODEL_NAMES`.

    Raises
    ------
    SettingError
        If there is no such model class.

    Examples
    --------
    >>> model_by_name("linear").__name__
    'LinearClassifier'
    """
    if name not in MODEL_NAMES:
        raise SettingError(f"`{name}` is not a model class.{meant_model(name)} Available: {listing(MODEL_NAMES)}.")
    if name == "auto":
        from sctab.model._auto import AutoClassifier

        return AutoClassifier
    from sctab.model._classes import CLASSES

    return CLASSES[name]
