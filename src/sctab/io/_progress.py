"""Progress of work on cells, steps, trainings or trials: how many are done, the speed, and the time that is left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 30
_REFRESHES_PER_SECOND = 4
_WITH_DIGITS_BELOW = 10
_OTHER_COLUMNS = 42
"""Characters of a short bar, the speed and the time left."""
_TITLES: ContextVar[tuple[str, ...]] = ContextVar("titles", default=())


class _Silence:
    """Time without a line, which reports that follow each other share: short ones would otherwise say nothing for hours."""

    since = -math.inf
    """Time of the last line, or when the first of several reports began that follow each other."""
    last_end = -math.inf
    """Time at which a report ended."""

    @classmethod
    def begin(cls, now: float) -> None:
        """Begin a report."""
        if not 0 <= now - cls.last_end <= _SECONDS_BETWEEN_LINES:
            cls.since = now


@contextmanager
def progress_titled(title: str, *, after: str = "") -> Iterator[None]:
    """Set a title for bars drawn in a block, after those of enclosing blocks.

    Parameters
    ----------
    title
        What is done: `with validation`, `member 1 of 5`.
    after
        Title before it where no block around has one.
    """
    token = _TITLES.set((*(_TITLES.get() or filter(None, [after])), title))
    try:
        yield
    finally:
        _TITLES.reset(token)


def progress_title(default: str) -> str:
    """Return the title of a bar that is drawn here, `default` outside of :func:`progress_titled`."""
    titles = ", ".join(_TITLES.get()) or default
    return titles[:1].upper() + titles[1:]


class ProgressReport:
    """A bar on stderr, or a line every half minute where stderr is neither a terminal nor a notebook that can draw.

    Reports that follow each other share the half minute.

    Parameters
    ----------
    total
        Units of work in all.
    what
        What is done with them.
    unit
        Their name, in the plural.
    done
        Units that were done before: they count as done, and not for the speed.
    shown
        Show anything at all.
    """

    def __init__(self, total: int, what: str = "Annotating", *, unit: str = "cells", done: int = 0, shown: bool = True) -> None:
        self._what, self._unit = what, unit
        self._total, self._before, self._done = total, done, done
        self._remark = ""
        self._console = Console(stderr=True, highlight=False)
        self._shows_lines = shown and not _draws(self._console)
        self._start = time.monotonic()
        self._written: tuple[int, str] | None = None
        if self._shows_lines:
            _Silence.begin(self._start)
        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
            _Speed(unit),
            TextColumn("time left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            disable=not shown or self._shows_lines,
        )
        counts = f"{total:,} of {total:,} {unit}"
        self._room = self._console.width - len(what) - len(counts) - len(unit) - _OTHER_COLUMNS
        """Characters of a remark beside which nothing else is cut off."""
        self._task = self._bar.add_task(what, total=total, completed=done, remark="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
        if self._shows_lines:
            if kind is None and self._written not in (None, (self._done, self._remark)):
                self._line()
            _Silence.last_end = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """So many more units are done."""
        self._done += n
        self._bar.advance(self._task, n)
        if self._shows_lines and time.monotonic() - _Silence.since > _SECONDS_BETWEEN_LINES:
            self._line()

    def remark(self, text: str) -> None:
        """Show this behind the numbers from now on."""
        self._remark = text
        self._bar.update(
            self._task, remark=text if len(text) <= self._room else f"{text[: self._room - 1]}…" if self._room > 1 else ""
        )

    def _line(self) -> None:
        now = _Silence.since = time.monotonic()
        self._written = self._done, self._remark
        speed = (self._done - self._before) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / speed / 60 if speed > 0 else math.nan
        time_left = f"{left:.1f} min left" if self._done < self._total else ""
        parts = [f"{self._done:,} of {self._total:,} {self._unit}", _per_second(speed, self._unit), time_left, self._remark]
        line = f"{self._what}: {', '.join(filter(None, parts))}"
        with suppress(OSError, AttributeError):  # a reader that is gone is no reason to stop
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _draws(console: Console) -> bool:
    """Return whether a bar can move on it."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def _per_second(speed: float, unit: str) -> str:
    if 0 < speed < _WITH_DIGITS_BELOW / 10:
        return f"{1 / speed:.0f} s each"
    return f"{speed:,.0f} {unit}/s" if speed >= _WITH_DIGITS_BELOW else f"{speed:.2g} {unit}/s"


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else _per_second(task.speed, self._unit))
