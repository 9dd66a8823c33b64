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
    ├── DownloadError           (OSError)            a file cannot be downloaded, or is not what was expected
    ├── OutputError             (OSError)            a result cannot be written
    │   └── OutputExistsError   (FileExistsError)    a result would overwrite something
    ├── ClusterError            (RuntimeError)       a Dask cluster keeps losing workers
    └── MissingDependencyError  (ImportError)        an optional dependency is not installed

Each class also inherits from the builtin in brackets, so code that catches that builtin keeps working.

A message speaks the caller's language: its parts that are code, such as a parameter, are written in Python (`labels_key='cell_type'`), and
in a shell (`--labels-key cell_type`) where the caller is a command. See :class:`Message`.
"""

from __future__ import annotations

import difflib
import importlib
import shlex
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType, ModuleType
from typing import Self

__all__ = [
    "ClusterError",
    "DataFileError",
    "DownloadError",
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


@dataclass(frozen=True)
class Either:
    """A part of a message with one text for callers of a function and another for callers of a command."""

    python: str
    shell: str

    def __str__(self) -> str:
        """Return the text for callers of a function."""
        return self.python

    def in_shell(self, options: Mapping[str, str]) -> str:
        """Return the text for callers of a command."""
        del options
        return self.shell


def place(where: str) -> Either:
    """Return a place in the data, which commands do not call `adata`.

    Examples
    --------
    >>> print(place("obs['donor_id']"))
    `adata.obs['donor_id']`
    """
    return Either(f"`adata.{where}`", f"`{where}`")


_UNSET = object()


@dataclass(frozen=True)
class Parameter:
    """A parameter in a message, with its value where that matters; `...` is any value.

    Examples
    --------
    >>> print(Parameter("labels_key", "cell_type"), Parameter("donor_key"))
    `labels_key='cell_type'` `donor_key`
    >>> Parameter("labels_key", "cell_type").in_shell({"labels_key": "--labels-key"})
    '`--labels-key cell_type`'
    """

    name: str
    value: object = _UNSET

    def __str__(self) -> str:
        """Write it in Python."""
        if self.value is _UNSET:
            return f"`{self.name}`"
        return f"`{self.name}={'…' if isinstance(self.value, EllipsisType) else repr(self.value)}`"

    def in_shell(self, options: Mapping[str, str]) -> str:
        """Write it as an option of a command, and in Python where the command has none; `options` has the option of each parameter."""
        option = options.get(self.name)
        if option is None:
            return str(self)
        if self.value is _UNSET or self.value is True:
            return f"`{option}`"
        if self.value is False:
            return f"`{option.replace('--', '--no-', 1)}`"
        if isinstance(self.value, EllipsisType):
            return f"`{option} …`"
        values = self.value if isinstance(self.value, list | tuple) else [self.value]
        return f"`{option} {' '.join(shlex.quote(str(value)) for value in values)}`"


class Message(str):
    """One or more sentences, made of strings and code. As a string it is in Python.

    Examples
    --------
    >>> message = Message(Parameter("labels_key", "celltype"), " is not in ", place("obs"), ".")
    >>> print(message)
    `labels_key='celltype'` is not in `adata.obs`.
    >>> print(message.in_shell({"labels_key": "--labels-key"}))
    `--labels-key celltype` is not in `obs`.
    """

    __slots__ = ("parts",)
    parts: tuple[str | Either | Parameter, ...]

    def __new__(cls, *parts: str | Either | Parameter) -> Self:
        """Join parts to a message; messages among them keep theirs."""
        message = super().__new__(cls, "".join(map(str, parts)))
        message.parts = tuple(each for part in parts for each in (part.parts if isinstance(part, Message) else (part,)))
        return message

    @classmethod
    def of(cls, text: str, *parts: str | Either | Parameter) -> Self:
        """Split a text in Python at `parts`, which it holds as they are written in Python.

        Examples
        --------
        >>> where = place("obs['donor']")
        >>> Message.of(f"{where} is empty.", where).in_shell({})
        "`obs['donor']` is empty."
        """
        found: list[str | Either | Parameter] = [text]
        for part in parts:
            pieces: list[str | Either | Parameter] = []
            for each in found:
                split = each.split(str(part)) if isinstance(each, str) else [each]
                pieces += [piece for i, text in enumerate(split) for piece in ([part, text] if i else [text])]
            found = pieces
        return cls(*found)

    def __reduce__(self) -> tuple[type[Message], tuple[str | Either | Parameter, ...]]:
        """Keep the parts on the way to another process."""
        return Message, self.parts

    def in_shell(self, options: Mapping[str, str]) -> str:
        """Write it for the caller of a command; `options` has the option of each of its parameters."""
        return "".join(part if isinstance(part, str) else part.in_shell(options) for part in self.parts)


class SctabError(Exception):
    """Base class of all errors of `sctab`.

    Parameters
    ----------
    parts
        The message, or several parts that are joined to one.
    """

    message: Message

    def __init__(self, *parts: str | Either | Parameter) -> None:
        self.message = Message(*parts)
        super().__init__(str(self.message) if parts else "")


class SctabWarning(UserWarning):
    """Base class of all warnings of `sctab`: the result is valid, with a caveat.

    Parameters
    ----------
    parts
        The message, or several parts that are joined to one.
    """

    message: Message

    def __init__(self, *parts: str | Either | Parameter) -> None:
        self.message = Message(*parts)
        super().__init__(str(self.message))


class InputValueError(SctabError, ValueError):
    """A matrix cannot be used for annotation or training."""


class InputTypeError(SctabError, TypeError):
    """The input is not an AnnData but, for example, a path, a table or a MuData."""


class KeyNotFoundError(SctabError, KeyError):
    """A named column or layer is not in the data."""

    def __str__(self) -> str:
        """Return the message itself: `KeyError` would show its `repr`."""
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


class DownloadError(SctabError, OSError):
    """A file could not be downloaded, or is not the one that was expected; what was there before is unchanged."""


class OutputError(SctabError, OSError):
    """A result could not be written; what was there before is unchanged."""


class OutputExistsError(OutputError, FileExistsError):
    """A result would overwrite existing output."""


class ClusterError(SctabError, RuntimeError):
    """A Dask cluster keeps losing workers."""


class MissingDependencyError(SctabError, ImportError):
    """An optional dependency is not installed."""


BY_LAYER = Either("`layer=`", "`--layer`")
"""The parameter, or the option, that chooses another matrix."""


def listed(parameters: Iterable[str]) -> list[str | Either | Parameter]:
    """Return parameters, separated by commas, as parts of a message."""
    parts: list[str | Either | Parameter] = []
    for name in parameters:
        parts += [", ", Parameter(name)] if parts else [Parameter(name)]
    return parts


def warn(*parts: str | Either | Parameter) -> None:
    """Issue a `SctabWarning` that points at the calling line of the user's code."""
    warnings.warn(SctabWarning(*parts), skip_file_prefixes=(_OUR_FILES,))


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


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return a question after the name that was probably meant, with a space in front; `""` where none is near.

    Capitals and what joins words do not count.

    Examples
    --------
    >>> did_you_mean("celltype", ["cell_type", "donor_id"])
    ' Did you mean `cell_type`?'
    """
    plain: dict[str, object] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.65)
    return f" Did you mean `{plain[near[0]]}`?" if near else ""


def _plain(name: object) -> str:
    return "".join(character for character in str(name).casefold() if character.isalnum())


def missing_key(parameter: str, key: object, known: Iterable[object], *, where: str = "obs") -> KeyNotFoundError:
    """Return the error of a key that a parameter names and an AnnData does not have.

    Parameters
    ----------
    parameter, key
        The parameter and what it names.
    known
        Existing names.
    where
        The table or mapping of the AnnData: `obs`, `var`, `raw.var`, `obsm`.
    """
    names = list(known)
    what = "Columns" if where in {"obs", "var", "raw.var"} else "Available"
    return KeyNotFoundError(
        Parameter(parameter, key), " is not in ", place(where), f".{did_you_mean(key, names)} {what}: {listing(names)}."
    )


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


def agreeing(n: int, one: str, several: str) -> str:
    """Words that agree with a number: `one` for 1, else `several`.

    Examples
    --------
    >>> f"1 of 3 cells {agreeing(1, 'has', 'have')} no label, and 0 {agreeing(0, 'is', 'are')} empty"
    '1 of 3 cells has no label, and 0 are empty'
    """
    return one if n == 1 else several
