"""Progress: what is done, how many cells of it, the speed, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 30
_TITLES: ContextVar[tuple[str, ...]] = ContextVar("titles", default=())


@contextmanager
def progress_titled(title: str) -> Iterator[None]:
    """Give the bars that are drawn in a block a title, behind those of the blocks around it.

    Parameters
    ----------
    title
        What is done: `fit`, `candidate mlp`.
    """
    token = _TITLES.set((*_TITLES.get(), title))
    try:
        yield
    finally:
        _TITLES.reset(token)


def progress_title(default: str) -> str:
    """Return the title of a bar that is drawn here, `default` outside of :func:`progress_titled`."""
    titles = ", ".join(_TITLES.get()) or default
    return titles[:1].upper() + titles[1:]


class CellProgress:
    """A bar on stderr, or a line every half minute where stderr is not a terminal.

    Parameters
    ----------
    n_obs
        Cells in all.
    what
        What is done with them.
    done
        Cells that were done before: they count as done, and not for the speed.
    shown
        Show anything at all.
    """

    def __init__(self, n_obs: int, what: str = "Annotating", *, done: int = 0, shown: bool = True) -> None:
        self._what = what
        self._n_obs, self._before, self._done = n_obs, done, done
        self._console = Console(stderr=True, highlight=False)
        self._shows_lines = shown and not self._console.is_terminal
        self._start = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} cells"),
            _Speed(),
            TextColumn("time left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not shown or self._shows_lines,
        )
        self._task = self._bar.add_task(what, total=n_obs, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
        if self._shows_lines and kind is None and self._last_line != self._start:
            self._line()

    def advance(self, n_obs: int) -> None:
        """So many more cells are done."""
        self._done += n_obs
        self._bar.advance(self._task, n_obs)
        if self._shows_lines and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self._last_line = time.monotonic()
        speed = (self._done - self._before) / max(self._last_line - self._start, 1e-9)
        left = (self._n_obs - self._done) / speed / 60 if speed > 0 else float("nan")
        line = f"{self._what}: {self._done:,} of {self._n_obs:,} cells, {speed:,.0f} cells/s, {left:.1f} min left"
        with suppress(OSError, AttributeError):  # a reader that is gone is no reason to stop
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} cells/s")
