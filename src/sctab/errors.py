"""What can go wrong, one class per thing that a user can fix.

::

    SctabError
    ├── InputValueError         (ValueError)         the matrix holds what cannot be annotated or learned from
    ├── InputTypeError          (TypeError)          what was given is not an AnnData
    ├── KeyNotFoundError        (KeyError)           a column or layer that was named is not there
    ├── LabelError              (ValueError)         labels that cannot be learned
    ├── GeneOverlapError        (ValueError)         too few of the model's genes are in the data
    ├── SettingError            (ValueError)         a parameter that makes no sense
    ├── NotTrainedError         (RuntimeError)       the model has to be trained first
    ├── ModelNotFoundError      (FileNotFoundError)  no model of that name or at that path
    ├── ModelFormatError        (ValueError)         a model directory that cannot be read or trusted
    ├── DataFileError           (OSError)            a data file that cannot be read
    ├── OutputError             (OSError)            a result that cannot be written
    │   └── OutputExistsError   (FileExistsError)    a result that would overwrite something
    ├── ClusterError            (RuntimeError)       workers of a cluster that are lost again and again
    └── MissingDependencyError  (ImportError)        an optional dependency that is not installed

Each also inherits from the builtin in brackets, so that code which expects that keeps working.
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
    """Base of every error that `sctab` raises on purpose."""


class SctabWarning(UserWarning):
    """Base of every warning of `sctab`: the result stands, and something about it should be known."""


class InputValueError(SctabError, ValueError):
    """A matrix holds values that cannot be annotated or learned from."""


class InputTypeError(SctabError, TypeError):
    """What was given is not an AnnData: a path, a table, a MuData."""


class KeyNotFoundError(SctabError, KeyError):
    """A column or layer that was named is not in the data."""

    def __str__(self) -> str:
        """Give the message itself: `KeyError` would show its `repr`."""
        return str(self.args[0]) if self.args else ""


class LabelError(SctabError, ValueError):
    """Labels that cannot be learned: missing, only one, or not matching those of the model."""


class GeneOverlapError(SctabError, ValueError):
    """Too few of the genes that the model learned from are in the data."""


class SettingError(SctabError, ValueError):
    """A parameter has a value that makes no sense."""


class NotTrainedError(SctabError, RuntimeError):
    """The model has not been trained, so that there is nothing to predict with or to save."""


class ModelNotFoundError(SctabError, FileNotFoundError):
    """There is no model of that name, or no model directory at that path."""


class ModelFormatError(SctabError, ValueError):
    """A model directory or a published checkpoint is incomplete, damaged, of an unknown version, of another class, or might run code."""


class DataFileError(SctabError, OSError):
    """A data file is missing, of an unknown type, or damaged."""


class OutputError(SctabError, OSError):
    """A result could not be written; what was there before is unchanged."""


class OutputExistsError(OutputError, FileExistsError):
    """A result would overwrite something that is already there."""


class ClusterError(SctabError, RuntimeError):
    """Workers of a Dask cluster are lost again and again."""


class MissingDependencyError(SctabError, ImportError):
    """An optional dependency is not installed."""


def warn(message: str) -> None:
    """Warn of something that should be known of a result, at the line of the user's code that led to it."""
    warnings.warn(message, SctabWarning, skip_file_prefixes=(_OUR_FILES,))


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Parameters
    ----------
    module
        Name to import.
    extra
        The extra of `sctab` that brings it.

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
    """Names for an error message: in backticks, separated by commas, cut after `most`.

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
