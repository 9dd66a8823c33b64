"""Old names that keep working for a while, with a warning that says what to write instead.

The policy is in `CONTRIBUTING.md`: what is public is deprecated in one minor release, and removed no earlier than in the second one after
it. The warning is a :class:`FutureWarning`, which Python shows to everybody, and it points at the line of the user's code.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

_OUR_FILES = str(Path(__file__).parent)


def renamed_function[**P, R](name: str, function: Callable[P, R], *, since: str, removed_in: str) -> Callable[P, R]:
    """Return a function under its old name, which warns and calls the new one.

    Parameters
    ----------
    name
        Full name of the old name, such as `sctab.tl.label`.
    function
        The function under its new name.
    since
        Version that deprecates the old name.
    removed_in
        Version that has it no more.
    """
    new = f"{_public_module(function)}.{function.__name__}"
    message = f"`{name}` is deprecated since sctab {since} and will be removed in {removed_in}. Use `{new}`."

    @functools.wraps(function)
    def old(*args: P.args, **kwargs: P.kwargs) -> R:
        _warn(message)
        return function(*args, **kwargs)

    old.__name__ = old.__qualname__ = name.rpartition(".")[2]
    old.__doc__ = f"Deprecated name of `{new}`; removed in {removed_in}."
    return old


def renamed_argument[**P, R](old: str, new: str, *, since: str, removed_in: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that take a keyword argument under its old name as well.

    Parameters
    ----------
    old, new
        Name of the argument so far, and now. The signature of the function has the new one only.
    since
        Version that deprecates the old name.
    removed_in
        Version that has it no more.

    Raises
    ------
    TypeError
        If the decorated function is called with both names.

    Examples
    --------
    >>> @renamed_argument("labels", "labels_key", since="0.2", removed_in="0.4")
    ... def count(*, labels_key: str) -> str:
    ...     return labels_key
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        message = (
            f"The argument `{old}` of `{function.__name__}` is deprecated since sctab {since} and will be removed in {removed_in}. "
            f"Use `{new}`."
        )

        @functools.wraps(function)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(
                        f"`{function.__name__}` got both `{old}` and `{new}`, which are one argument. Use `{new}` alone."
                    )
                _warn(message)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return accepting

    return decorate


def renamed_arguments[**P, R](
    names: Mapping[str, str], *, since: str, removed_in: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that take several keyword arguments under their old names as well.

    Parameters
    ----------
    names
        New name of each old one.
    since, removed_in
        As in :func:`renamed_argument`, which is applied for each.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        for old, new in names.items():
            function = renamed_argument(old, new, since=since, removed_in=removed_in)(function)
        return function

    return decorate


FRACTION_OF_CORPUS: Mapping[str, str] = MappingProxyType({"subset": "fraction", "subset_by": "fraction_by"})
"""Arguments of functions that learn a part of a corpus, by their old names."""


def _public_module(function: Callable[..., object]) -> str:
    """Name of the room that offers a function: `sctab.tl` for one of `sctab.tl._annotate`."""
    return function.__module__.partition("._")[0]


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, skip_file_prefixes=(_OUR_FILES,))
