"""Exceptions and warnings: one class per problem that a user can fix.

::

    SctabError
    ├── InputValueError         (ValueError)         the matrix cannot be used for annotation or training
    ├── InputTypeError          (TypeError)          the input is not an AnnData
    ├── KeyNotFoundError        (KeyError)           a named column or layer does not exist
    ├── LabelError              (ValueError)         the labels cannot be used for training
    ├── GeneOverlapError        (ValueError)         too few of the model's genes are in the data
    ├── SettingError            (ValueError)         a parameter has an invalid value
    ├── NotTrainedError         (RuntimeError)       the model is not trained yet
    ├── ModelNotFoundError      (FileNotFoundError)  no model has this name or path
    ├── ModelFormatError        (ValueError)         a model directory cannot be read or trusted
    ├── DataFileError           (OSError)            a data file cannot be read
    ├── OutputError             (OSError)            a result cannot be written
    │   └── OutputExistsError   (FileExistsError)    a result would overwrite something
    ├── ClusterError            (RuntimeError)       a Dask cluster keeps losing workers
    └── MissingDependencyError  (ImportError)        an optional dependency is not installed

Each class also inherits from the builtin in brackets, so code that catches that builtin keeps working.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

__all__ = [
    "ClusterError",
    "DataFileError",
    "GeneOverlapError",
    "InputTypeError",
    "InputValueError",
    "KeyNotFoundError",
    "LabelError",
    "MissingDependencyError",
    "ModelFormatError",
    "ModelNotFoundError",
    "NotTrainedError",
    "OutputError",
    "OutputExistsError",
    "SctabError",
    "SctabWarning",
    "SettingError",
]


def __dir__() -> list[str]:
    return list(__all__)


_OUR_FILES = str(Path(__file__).parent)


class SctabError(Exception):
    """Base class of all errors of `sctab`."""


class SctabWarning(UserWarning):
    """Base class of all warnings of `sctab`: the result is valid, with a caveat."""


class InputValueError(SctabError, ValueError):
    """A matrix cannot be used for annotation or training."""


class InputTypeError(SctabError, TypeError):
    """The input is not an AnnData but, for example, a path, a table or a MuData."""


class KeyNotFoundError(SctabError, KeyError):
    """A named column or layer is not in the data."""

    def __str__(self) -> str:
        """Give the message itself: `KeyError` would show its `repr`."""
        return str(self.args[0]) if self.args else ""


class LabelError(SctabError, ValueError):
    """Labels cannot be used: they are missing, of one type only, or unknown to the model."""


class GeneOverlapError(SctabError, ValueError):
    """Too few of the model's genes are in the data."""


class SettingError(SctabError, ValueError):
    """A parameter has an invalid value."""


class NotTrainedError(SctabError, RuntimeError):
    """The model is not trained yet, so it can neither predict nor be saved."""


class ModelNotFoundError(SctabError, FileNotFoundError):
    """No packaged model has this name, and no model directory has this path."""


class ModelFormatError(SctabError, ValueError):
    """A model directory or a published checkpoint is incomplete, damaged, of an unknown version, of another class, or might run code."""


class DataFileError(SctabError, OSError):
    """A data file is missing, of an unknown type, or damaged."""


class OutputError(SctabError, OSError):
    """A result could not be written; what was there before is unchanged."""


class OutputExistsError(OutputError, FileExistsError):
    """A result would overwrite existing output."""


class ClusterError(SctabError, RuntimeError):
    """A Dask cluster keeps losing workers."""


class MissingDependencyError(SctabError, ImportError):
    """An optional dependency is not installed."""


def warn(message: str) -> None:
    """Issue a `SctabWarning` that points at the calling line of the user's code."""
    warnings.warn(message, SctabWarning, skip_file_prefixes=(_OUR_FILES,))


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Parameters
    ----------
    module
        Name to import.
    extra
        The extra of `sctab` that installs it.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"This needs `{module}`, which is not installed. Install it with `pip install 'sctab[{extra}]'`."
        ) from error


def listing(names: Iterable[object], *, most: int = 10) -> str:
    """Format names for a message: in backticks, separated by commas, truncated after `most`.

    Examples
    --------
    >>> listing(["a", "b", "c"], most=2)
    '`a`, `b` and 1 more'
    """
    shown = [f"`{name}`" for name in names]
    if not shown:
        return "none"
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")
