"""Storage of a study: an SQLite file that several processes can share."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sctab.errors import DataFileError, OutputError, OutputExistsError, SettingError, listing, require
from sctab.io import written_beside

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner

_STUDY = "sctab"
_HEARTBEAT = 10
"""Seconds between two signs of life of a trial."""
_GRACE = 60
"""Seconds without one after which a trial counts as lost."""
_LOCK_TIMEOUT = 60
"""Seconds to wait for another process that writes to the file."""


@contextmanager
def open_study(path: Path | None, identity: Mapping[str, str], pruner: BasePruner) -> Iterator[Study]:
    """Open the study in a file, creating a missing file; without a file, create a study in memory.

    Parameters
    ----------
    path
        SQLite file.
    identity
        What must be the same in all processes, now and later.
    pruner
        Ends trials early.

    Raises
    ------
    DataFileError
        If the file holds something else.
    SettingError
        If the study was begun with another identity.
    """
    optuna = require("optuna", extra="tune")
    if path is None:
        yield _new_study(optuna.storages.InMemoryStorage(), identity, pruner)
        return
    if path.exists() and not path.is_file():
        raise DataFileError(f"`{path}` is not a regular file and holds no study. Use another name for the study.")
    if not path.exists():
        # Made whole beside its place, so that no process ever sees half of it; or another one is faster.
        with suppress(OutputExistsError), written_beside(path) as fresh, _storage(fresh, path) as storage:
            _new_study(storage, identity, pruner)
    _require_study(path)
    with _storage(path, path) as storage:
        study = optuna.load_study(study_name=_STUDY, storage=storage, pruner=pruner)
        _require_same(study.user_attrs, identity, path)
        yield study


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say nothing for a block: what it logs is in the result, and it calls experimental what is used here."""
    optuna = require("optuna", extra="tune")
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _new_study(storage: Any, identity: Mapping[str, str], pruner: BasePruner) -> Study:
    optuna = require("optuna", extra="tune")
    study = optuna.create_study(storage=storage, study_name=_STUDY, direction="maximize", pruner=pruner)
    for name, value in identity.items():
        study.set_user_attr(name, value)
    return study


@contextmanager
def _storage(path: Path, target: Path) -> Iterator[Any]:
    optuna = require("optuna", extra="tune")
    from sqlalchemy.exc import DBAPIError  # comes with optuna
    from sqlalchemy.pool import NullPool

    storage = None
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}",
            engine_kwargs={"connect_args": {"timeout": _LOCK_TIMEOUT}, "poolclass": NullPool},  # none stays open after an error
            heartbeat_interval=_HEARTBEAT,
            grace_period=_GRACE,
            # Once more and not for ever: what a trial did may be the reason why its process was killed.
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1),
        )
        yield storage
    except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        raise OutputError(
            f"The study in `{target}` could not be written: {getattr(cause, 'orig', cause)}. Finished trials are kept. Free "
            "some space, or choose another place; run the same command again to resume."
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _require_study(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT study_name FROM studies")}
    except sqlite3.Error as error:
        raise DataFileError(f"`{path}` holds no study: {error}. Use another name for the study.") from error
    if _STUDY not in names:
        raise DataFileError(f"`{path}` holds no study of `sctab`. Use another name for the study.")


def _require_same(found: Mapping[str, Any], wanted: Mapping[str, str], path: Path) -> None:
    others = [name for name in dict.fromkeys((*wanted, *found)) if found.get(name) != wanted.get(name)]
    if not others:
        return
    shown = [f"`{name}` was {found.get(name)} and is {wanted.get(name)}" for name in others if name not in ("data", "space")]
    raise SettingError(
        f"The study in `{path}` was started with other {listing(others)}"
        + (f" ({'; '.join(shown)})" if shown else "")
        + ". Resume with the original settings, or use another name for the study."
    )
