"""Model classes by their short names."""

from __future__ import annotations

from sctab.errors import SettingError, listing
from sctab.model._auto import AutoClassifier
from sctab.model._base import CellTypeClassifier
from sctab.model._classes import CLASSES

MODEL_NAMES = (*CLASSES, "auto")
"""Short names of the model classes."""


def model_by_name(name: str) -> type[CellTypeClassifier] | type[AutoClassifier]:
    """The model class of a short name: `"linear"`, `"mlp"`, `"xgboost"`, `"sctab"` or `"auto"`.

    Parameters
    ----------
    name
        One of `MODEL_NAMES`.

    Raises
    ------
    SettingError
        When there is no such model class.

    Examples
    --------
    >>> model_by_name("linear").__name__
    'LinearClassifier'
    """
    if name == "auto":
        return AutoClassifier
    if name not in CLASSES:
        raise SettingError(f"`{name}` is not a model class. There are: {listing(MODEL_NAMES)}.")
    return CLASSES[name]
