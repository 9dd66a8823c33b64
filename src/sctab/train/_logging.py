"""Files of a running training: metrics, settings, augmentation and checkpoints."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as dump_arrays
from scipy import sparse

from sctab.data import FeatureSpace
from sctab.errors import DataFileError, Either, OutputError, OutputExistsError, Parameter, SettingError
from sctab.io import InUseError, as_path, entries_of, held_alone, written_beside
from sctab.train._neptune import NeptuneLogger
from sctab.train._processes import is_first_process

Checkpoints = Literal["best", "all"]
"""Checkpoints that a training keeps: the best and the last one, or those of all epochs."""
type LoggerChoice = Logger | Literal["neptune"] | Sequence[Logger | Literal["neptune"]] | None
"""Accepted values of `logger`."""

METRICS_FILE = "metrics.csv"
HYPERPARAMETERS_FILE = "hparams.yaml"
AUGMENTATION_FILE = "augmentation.safetensors"
TENSORBOARD_DIRECTORY = "tensorboard"
CHECKPOINTS_DIRECTORY = "checkpoints"
NEPTUNE_DIRECTORY = "neptune"


def start_logging(
    run_dir: str | PathLike[str] | None,
    logger: LoggerChoice,
    hyperparameters: Mapping[str, Any],
    *,
    history: Mapping[str, Mapping[int, float]] | None = None,
) -> list[Logger]:
    """Loggers for a training, with its settings written to them.

    Parameters
    ----------
    run_dir
        Directory for `metrics.csv`, `hparams.yaml` and `tensorboard/`; without one, the training writes no file of its own.
    logger
        A Lightning logger, `"neptune"`, or several of these, besides those of the directory.
    hyperparameters
        Settings by name, in one level.
    history
        Metrics by epoch of a training that is resumed in the directory; `None` begins one, in a new directory.

    Returns
    -------
    The logger that fills `history` comes first, where scvi-tools looks for it.

    Raises
    ------
    SettingError
        If `logger` is something else, or if Neptune has not been told where to send the run.
    MissingDependencyError
        If Neptune is not installed.
    OutputExistsError
        If something is in the directory already.
    OutputError
        If the directory cannot be made.
    """
    directory = None if run_dir is None else as_path(run_dir)
    chosen = [_logger(choice, directory) for choice in _several(logger)]
    loggers: list[Logger] = [_History()]
    if directory is not None:
        if history is None and is_first_process():
            _make_empty(directory)
        elif is_first_process():
            (directory / METRICS_FILE).unlink(missing_ok=True)  # rewritten below
        # The writer of the table comes before TensorBoard's: it warns of a directory that is not empty.
        loggers += [
            CSVLogger(directory, name="", version=""),
            _TensorBoard(directory, name=TENSORBOARD_DIRECTORY, version="", default_hp_metric=False),
        ]
    loggers += chosen
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")  # of what continues
        for each in loggers:
            each.log_hyperparams(dict(hyperparameters))
    for epoch in sorted({epoch for values in (history or {}).values() for epoch in values}):
        metrics = {name: values[epoch] for name, values in (history or {}).items() if epoch in values}
        for each in loggers:
            if not isinstance(each, _TensorBoard):  # which has them
                each.log_metrics({**metrics, "epoch": epoch}, epoch)
                each.save()
    return loggers


def forget(run_dir: str | PathLike[str]) -> None:
    """Remove what a training left that was interrupted before its first epoch was over.

    A directory with something else in it is not of such a training, and is left as it is.
    """
    directory = as_path(run_dir)
    ours = re.compile(
        r"(metrics\.csv|hparams\.yaml|augmentation\.safetensors|tensorboard|checkpoints|neptune|\.sctab-[0-9a-z_-]+\.part)"
    )
    is_ours = (directory / HYPERPARAMETERS_FILE).is_file() and all(ours.fullmatch(path.name) for path in entries_of(directory))
    is_ours = is_ours and all(
        re.fullmatch(r"epoch_\d+|\.sctab-.*", path.name) for path in (directory / CHECKPOINTS_DIRECTORY).glob("*")
    )
    if is_ours and is_first_process():
        for name in (TENSORBOARD_DIRECTORY, CHECKPOINTS_DIRECTORY):
            shutil.rmtree(directory / name, ignore_errors=True)
        for name in (METRICS_FILE, HYPERPARAMETERS_FILE, AUGMENTATION_FILE):
            (directory / name).unlink(missing_ok=True)
        for unfinished in directory.glob(".sctab-*.part"):
            shutil.rmtree(unfinished, ignore_errors=True)


def check_checkpoints(keep: str, run_dir: str | PathLike[str] | None) -> None:
    """Refuse an invalid `keep_checkpoints`, or one that asks for more models than can be kept.

    Raises
    ------
    SettingError
        If it is neither `"best"` nor `"all"`, or if it is `"all"` and no directory is written.
    """
    if keep not in get_args(Checkpoints):
        raise SettingError(Parameter("keep_checkpoints", keep), " must be `best` or `all`.")
    if keep == "all" and run_dir is None:
        raise SettingError(
            Parameter("keep_checkpoints", keep),
            " needs a run directory to keep the models in. ",
            Either("Provide `run_dir`, or omit it.", "Omit `--no-logs` or `--keep-checkpoints`."),
        )


@contextmanager
def run_directory(run_dir: str | PathLike[str] | None) -> Iterator[None]:
    """Hold the directory of a training while it runs, so that no other training writes into it.

    Raises
    ------
    OutputExistsError
        If another training does.
    """
    if run_dir is None or not is_first_process():
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(held_alone(as_path(run_dir)))
        except InUseError as error:
            raise OutputExistsError(
                f"Another training is running in `{run_dir}`. Wait until it is done, or choose another ", Parameter("run_dir"), "."
            ) from error
        yield


def check_logger(logger: LoggerChoice) -> None:
    """Refuse an invalid logger.

    Raises
    ------
    SettingError, MissingDependencyError
        As in :func:`start_logging`.
    """
    for choice in _several(logger):
        _logger(choice, None)


def check_logging(run_dir: str | PathLike[str] | None, logger: LoggerChoice, keep_checkpoints: str) -> None:
    """Refuse what :func:`start_logging` and :func:`check_checkpoints` would refuse, before any work is done; nothing is made.

    Raises
    ------
    SettingError, MissingDependencyError, OutputExistsError
        As in :class:`CellTypeClassifier`.
    """
    check_checkpoints(keep_checkpoints, run_dir)
    for choice in _several(logger):
        _logger(choice, None if run_dir is None else as_path(run_dir))
    if run_dir is not None:
        _require_empty(as_path(run_dir))


def log_epoch(loggers: Sequence[Logger], epoch: int, metrics: Mapping[str, float]) -> None:
    """Log an epoch of a training that Lightning does not run, in the way in which Lightning does."""
    for logger in loggers:
        logger.log_metrics({**metrics, "epoch": epoch}, epoch)
        logger.save()


def read_metrics(run_dir: str | PathLike[str]) -> dict[str, pd.DataFrame]:
    """The `history` of a training from its directory, also while it still runs.

    Raises
    ------
    DataFileError
        If there is no `metrics.csv` or if it cannot be read.
    """
    path = as_path(run_dir) / METRICS_FILE
    try:
        table = pd.read_csv(path).set_index("epoch")
    except FileNotFoundError as error:
        raise DataFileError(
            f"`{run_dir}` is not the directory of a training: it has no `{METRICS_FILE}`. Provide the `run_dir` that was passed to `train`."
        ) from error
    except (OSError, KeyError, ValueError) as error:
        raise DataFileError(f"`{path}` cannot be read: {error}. It is a table with the column `epoch`.") from error
    return {str(name): table[[name]].dropna() for name in table.columns if name != "step"}


def write_augmentation(
    run_dir: str | PathLike[str], differences: sparse.csr_matrix, genes: FeatureSpace, settings: Mapping[str, Any]
) -> None:
    """Write the difference vectors that a training adds to its cells, `(n_differences, n_vars)`, and how they were computed.

    They belong to the training and not to the model, which does not need them to annotate.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    arrays = {"indptr": differences.indptr, "indices": differences.indices, "data": differences.data}
    facts = {"gene_ids": genes.ids, "gene_symbols": genes.symbols, "settings": dict(settings)}
    with written_beside(as_path(run_dir) / AUGMENTATION_FILE) as path:
        path.write_bytes(dump_arrays(arrays, metadata={name: json.dumps(value) for name, value in facts.items()}))


def read_augmentation(run_dir: str | PathLike[str]) -> tuple[sparse.csr_matrix, FeatureSpace, dict[str, Any]]:
    """Vectors, their genes and how they were computed, as :func:`write_augmentation` left them in the directory of a training.

    Raises
    ------
    DataFileError
        If there are none, or if they cannot be read.
    """
    path = as_path(run_dir) / AUGMENTATION_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            facts = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            arrays = tuple(file.get_tensor(name) for name in ("data", "indices", "indptr"))
        genes = FeatureSpace(ids=tuple(facts["gene_ids"]), symbols=tuple(facts["gene_symbols"]))
        differences = sparse.csr_matrix(arrays, shape=(len(arrays[2]) - 1, len(genes)))
        differences.check_format()
        return differences, genes, dict(facts["settings"])
    except FileNotFoundError as error:
        raise DataFileError(
            f"`{run_dir}` has no `{AUGMENTATION_FILE}`. A training leaves it there with `train(augment=True, run_dir=…)`."
        ) from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataFileError(f"`{path}` cannot be read: {error}. Copy the directory of the training again.") from error


class SaveCheckpoints(Callback):
    """Write the model after every validation, as `epoch_000`, `epoch_001`, …, and remove those that are not kept.

    Only models that were written with `keep="best"` are removed, by this training or by the one that it resumes.

    Parameters
    ----------
    directory
        Where they go.
    write
        Writes the model as it is to a path; nothing where it diverges.
    best_epoch
        Gives the best epoch so far, the one that was just validated included; `None` where there is none yet.
    keep
        `"best"`: the best and the last one. `"all"`: every one.
    """

    def __init__(
        self, directory: Path, write: Callable[[Path], object], best_epoch: Callable[[], int | None], keep: Checkpoints
    ) -> None:
        self.directory = directory
        self.write = write
        self.best_epoch = best_epoch
        self.keep = keep
        self._removable: set[int] = set()

    def state_dict(self) -> dict[str, Any]:
        """State for a resumed training."""
        return {"removable": sorted(self._removable)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._removable = set(state_dict["removable"])

    def on_validation_end(self, trainer: Any, _pl_module: Any) -> None:
        """Write the epoch that was just validated."""
        if not trainer.is_global_zero:
            return
        self.write(self._path(trainer.current_epoch))
        if self.keep == "best":
            if self._path(trainer.current_epoch).exists():  # nothing is written where the model diverges
                self._removable.add(trainer.current_epoch)
            for epoch in self._removable - {self.best_epoch(), max(self._removable, default=None)}:
                self._removable.remove(epoch)
                if not self._path(epoch).is_symlink():
                    shutil.rmtree(self._path(epoch), ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self.directory / f"epoch_{epoch:03d}"


class _History(Logger):
    """The metrics of every epoch, in memory."""

    name = "history"
    version = ""
    """Empty: the progress bar would show it."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, dict[int, float]] = {}

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """A column of its name for each metric, one row per epoch."""
        return {
            name: pd.DataFrame({name: list(values.values())}, index=pd.Index(list(values), name="epoch"), dtype=float)
            for name, values in self._values.items()
        }

    def log_hyperparams(self, *_args: Any, **_kwargs: Any) -> None:
        """Leave out the settings, which the model keeps."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep the values of an epoch."""
        del step
        epoch = int(metrics["epoch"])
        for name, value in metrics.items():
            if name != "epoch":
                self._values.setdefault(name, {})[epoch] = float(value)


class _TensorBoard(TensorBoardLogger):
    """TensorBoard with settings in its table from the start; Lightning's would ask for a metric that is not measured yet."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Mapping[str, Any], *_args: Any, **_kwargs: Any) -> None:
        """Write the settings; what TensorBoard has no type for as text."""
        # Here, since it takes a while to load.
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped]

        super().log_hyperparams(params)
        plain = {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in params.items()}
        self.experiment.file_writer.add_summary(hparams_pb(plain))


def _several(logger: LoggerChoice) -> list[Any]:
    if logger is None:
        return []
    return list(logger) if isinstance(logger, list | tuple) else [logger]


def _logger(choice: Any, run_dir: Path | None) -> Logger:
    if isinstance(choice, Logger):
        return choice
    if choice == "neptune":
        return NeptuneLogger(None if run_dir is None else run_dir / NEPTUNE_DIRECTORY)
    raise SettingError(
        Parameter("logger", choice), " must be a logger of `lightning.pytorch.loggers`, `neptune`, or a list of these."
    )


def _require_empty(directory: Path) -> None:
    if directory.is_file():
        raise OutputExistsError(f"`{directory}` is a file. Choose another `run_dir`.")
    if directory.is_dir() and entries_of(directory):
        raise OutputExistsError(f"`{directory}` is not empty: every training has a directory of its own. Choose another `run_dir`.")


def _make_empty(directory: Path) -> None:
    _require_empty(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"`{directory}` cannot be made: {error.strerror}. Choose another `run_dir`.") from error
