"""Short names of the model classes, and names by which users may know them."""

from __future__ import annotations

from sctab.errors import did_you_mean

MODEL_NAMES = ("linear", "mlp", "xgboost", "sctab", "auto")
"""Short names of the model classes, the simplest first."""


_OTHER_NAMES = {
    "linearclassifier": "linear",
    "logisticregression": "linear",
    "mlpclassifier": "mlp",
    "multilayerperceptron": "mlp",
    "perceptron": "mlp",
    "xgb": "xgboost",
    "xgboostclassifier": "xgboost",
    "sctab": "sctab",
    "boostedtrees": "xgboost",
    "tabnet": "sctab",
    "autoclassifier": "auto",
}
"""Other names under which users may know a class, in lower case and without what joins words."""


def meant_model(name: object) -> str:
    """Return a question after the model class that was probably meant, with a space in front; `""` where none is near.

    Examples
    --------
    >>> meant_model("MLPClassifier"), meant_model("sctabb")
    (' Did you mean `mlp`?', ' Did you mean `sctab`?')
    """
    plain = _plain(name)
    return f" Did you mean `{_OTHER_NAMES[plain]}`?" if plain in _OTHER_NAMES else did_you_mean(name, MODEL_NAMES)


def short_name(class_name: str) -> str:
    """Return the short name of a model class.

    Examples
    --------
    >>> short_name("MLPClassifier")
    'mlp'
    """
    return _OTHER_NAMES[_plain(class_name)]


def _plain(name: object) -> str:
    return "".join(character for character in str(name).casefold() if character.isalnum())
