"""Terminal output of commands: notes, and errors as one paragraph."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

import sctab.io
from sctab.cli._commands import options_of
from sctab.errors import Message, OutputError, SctabError, SctabWarning

EXIT_REFUSED = 2
_EXIT_SIGNAL = 128
_STREAMS = 3


class _Console(Console):
    """A console that prints names of users as they are: no markup, no emoji, and control characters are spelled.

    A reader that has gone, as `head` does, gets nothing more, and the command ends as it would have. What cannot be printed for another
    reason is an error on stdout, and no reason to stop on stderr.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a `Text`, in which control characters of names cannot steer a terminal."""
        return super().render_str("".join(map(_printable, text)), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, where that is possible."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.on_broken_pipe()
            if not self.stderr:
                raise OutputError(f"The output could not be printed: {error.strerror}.") from error

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        with suppress(OSError, ValueError, AttributeError):  # what is not written yet would be tried again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Console()
"""Console for requested output."""
err = _Console(stderr=True)
"""Console for notes and errors."""


class Stopped(KeyboardInterrupt):
    """The process was terminated by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def reports_errors[**P](command: Callable[P, None]) -> Callable[P, None]:
    """Show notes on stderr, and errors of `sctab` as one paragraph with exit code 2; with `debug=True` as a traceback.

    Both speak of the options of the command where functions speak of their parameters.

    A `~` at the beginning of a path is the home directory.
    """
    shown = options_of(command)

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        debug = bool(kwargs.get("debug"))
        options: Any = {name: _expanded(value) for name, value in kwargs.items()}
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", SctabWarning)
                warnings.showwarning = partial(_show_warning, shown)  # `catch_warnings` puts it back
            try:
                command(*args, **options)
            except (SctabError, OSError) as error:
                if debug:
                    raise
                message = error.message if isinstance(error, SctabError) else f"{type(error).__name__}: {error}."
                said = " ".join(in_shell(each, shown) for each in (message, *_notes(error)))
                err.print(_titled("Error:", "bold red", said), soft_wrap=True)
                raise typer.Exit(EXIT_REFUSED) from error
            except KeyboardInterrupt as error:
                number = error.number if isinstance(error, Stopped) else signal.SIGINT
                kept = _notes(error) or ["What is in a run directory is kept."]
                what = "Interrupted" if number == signal.SIGINT else "Stopped"
                said = " ".join(in_shell(each, shown) for each in kept)
                err.print(f"{what}. No output was written. {said}", soft_wrap=True)
                raise typer.Exit(_EXIT_SIGNAL + number) from error

    return run


def ends_on_signals[**P](command: Callable[P, None]) -> Callable[P, None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C: finished work is kept, and temporary files are removed.

    Commands that train do not need it: Lightning does the same at the end of a step.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _raising(signal.SIGTERM), _raising(getattr(signal, "SIGHUP", signal.SIGTERM)):
            command(*args, **kwargs)

    return run


def prepare_streams() -> None:
    """Let anything be printed anywhere: characters that a terminal does not know are spelled.

    Where stdin, stdout or stderr is closed, the next file that is opened would take its place, and what libraries print would go into it.
    """
    for number in range(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _raising(number: int) -> Iterator[None]:
    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) != signal.SIG_DFL:
        yield
        return
    signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return sctab.io.as_path(value)
    return [sctab.io.as_path(item) if isinstance(item, Path) else item for item in value] if isinstance(value, list) else value


def _printable(character: str) -> str:
    return character if character.isprintable() or character in "\n\t\xa0" else character.encode("unicode_escape").decode()


def _titled(title: str, style: str, message: str) -> Text:
    return Text.assemble((title, style), " ", "".join(map(_printable, message)))


def _notes(error: BaseException) -> list[str]:
    """Notes attached to an error, such as where finished work is kept."""
    return getattr(error, "__notes__", [])


def show_note(message: str) -> None:
    """Show a note on stderr."""
    err.print(_titled("Note:", "yellow", message), soft_wrap=True)


def _show_warning(options: Mapping[str, str], message: Warning | str, *_: Any, **__: Any) -> None:
    show_note(in_shell(message.message if isinstance(message, SctabWarning) else str(message), options))


def in_shell(text: str, options: Mapping[str, str]) -> str:
    """Write a message for the caller of a command; `options` has the option of each of its parameters."""
    return text.in_shell(options) if isinstance(text, Message) else text
