"""What a command says on the terminal: notes, and errors as one paragraph."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from sctab._errors import SctabError, SctabWarning

out = Console(highlight=False)
"""What a command is asked for."""
err = Console(stderr=True, highlight=False)
"""What it says on the way."""

EXIT_REFUSED = 2


def reports_errors[**P](command: Callable[P, None]) -> Callable[P, None]:
    """Show notes on stderr, and errors of `sctab` as one paragraph with exit code 2; with `debug=True` as a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        debug = bool(kwargs.get("debug"))
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", SctabWarning)
                warnings.showwarning = _show_note  # `catch_warnings` puts it back
            try:
                command(*args, **kwargs)
            except SctabError as error:
                if debug:
                    raise
                err.print(f"[bold red]Error:[/] {escape(' '.join([str(error), *_notes(error)]))}", soft_wrap=True)
                raise typer.Exit(EXIT_REFUSED) from error
            except KeyboardInterrupt as error:
                kept = _notes(error) or ["What is in a run directory is kept."]
                err.print(f"Interrupted. No output was written. {escape(' '.join(kept))}", soft_wrap=True)
                raise typer.Exit(130) from error

    return run


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way: where finished work is kept."""
    return getattr(error, "__notes__", [])


def _show_note(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print(f"[yellow]Note:[/] {escape(str(message))}", soft_wrap=True)
