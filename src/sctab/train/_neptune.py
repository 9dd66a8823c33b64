"""Neptune as a Lightning logger. Lightning had one of its own until its version 2.6."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from sctab.errors import SettingError, require

_DATA_DIRECTORY = "NEPTUNE_DATA_DIRECTORY"


class NeptuneLogger(Logger):
    """One Neptune run: metrics as series under their names, settings under `settings`.

    Where the run goes is decided by Neptune's own environment variables, see :doc:`/logging`.

    Parameters
    ----------
    data_directory
        Where Neptune keeps what it has not sent: all of a run in offline mode. `None` leaves that to Neptune, which takes `.neptune` in the
        working directory. `NEPTUNE_DATA_DIRECTORY` takes precedence.

    Raises
    ------
    MissingDependencyError
        If `neptune` is not installed.
    SettingError
        If the environment names neither an account and a project nor a mode that needs none.
    """

    def __init__(self, data_directory: Path | None = None) -> None:
        super().__init__()
        require("neptune", extra="neptune")
        _check_environment()
        self._data_directory = data_directory
        self._run: Any = None

    @property
    def name(self) -> str:
        """Name of the experiment in Lightning."""
        return "neptune"

    @property
    def version(self) -> str:
        """Empty: Neptune numbers runs itself."""
        return ""

    @property
    def experiment(self) -> Any:
        """The `neptune.Run`, started on first access."""
        if self._run is None:
            neptune = require("neptune", extra="neptune")
            with _data_in(self._data_directory), _quiet_neptune():
                # What Neptune gathers besides, such as source code, the state of git and what is printed, is not a part of the training.
                self._run = neptune.init_run(
                    source_files=[],
                    git_ref=False,
                    capture_stdout=False,
                    capture_stderr=False,
                    capture_traceback=False,
                    capture_hardware_metrics=False,
                )
        return self._run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a value to the series of each metric."""
        for name, value in metrics.items():
            self.experiment[name].append(value, step=step)

    def log_hyperparams(self, params: Mapping[str, Any], *_args: Any, **_kwargs: Any) -> None:
        """Write the settings; what Neptune has no type for, such as a list, as text."""
        self.experiment["settings"] = require("neptune.utils", extra="neptune").stringify_unsupported(dict(params))

    def finalize(self, _status: str) -> None:
        """End the run when the training ends."""
        if self._run is not None:
            with _quiet_neptune():
                self._run.stop()


def _check_environment() -> None:
    if os.environ.get("NEPTUNE_MODE") in ("offline", "debug"):
        return
    missing = [name for name in ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT") if not os.environ.get(name)]
    if missing:
        raise SettingError(
            f"Neptune does not know where to send the run: {' and '.join(f'`{name}`' for name in missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set. Set the environment variables `NEPTUNE_API_TOKEN` and `NEPTUNE_PROJECT`, "
            "or `NEPTUNE_MODE=offline` to keep the run on disk."
        )


@contextmanager
def _data_in(directory: Path | None) -> Iterator[None]:
    """Let a run that starts in the block keep its data in `directory`: Neptune has only an environment variable for that."""
    if directory is None or _DATA_DIRECTORY in os.environ:
        yield
        return
    os.environ[_DATA_DIRECTORY] = str(directory)
    try:
        yield
    finally:
        del os.environ[_DATA_DIRECTORY]


@contextmanager
def _quiet_neptune() -> Iterator[None]:
    """Only warnings and errors: Neptune says on stdout that it starts and ends."""
    logger = logging.getLogger("neptune")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
