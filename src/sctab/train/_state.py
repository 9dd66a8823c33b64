"""The state of a training, from which it resumes after an interruption."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from lightning.fabric.plugins.io import CheckpointIO
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors, save as dump_tensors

from sctab.errors import DataFileError, SettingError, listing
from sctab.io import strict_json, written_beside

STATE_FILE = "state.safetensors"
STATE_KEY = "sctab"
_HASH_KEY, _NO_HASH = "sha256", 64 * "0"
_HASH_ENTRY = b'"sha256":"%s"'
"""Format of the hash in the file header; it is the hash of the file with zeros in its place."""
_HASH_OF_FILE = re.compile(_HASH_ENTRY % b"([0-9a-f]{64})")
_MOST_BYTES = 2**36
_STEPS_ON_DEVICE = 256
"""Losses that are left on a device at most."""


class EpochMeans:
    """Means of what is logged of an epoch, over its cells.

    Losses stay where they were computed until they are needed: to ask a device for one is to wait for all that it has to do before.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps: list[torch.Tensor] = []
        self._values: list[Mapping[str, float]] = []

    def add(self, loss_and_n_obs: torch.Tensor, values: Mapping[str, float]) -> None:
        """Add a batch: its loss and its number of cells, `(2,)`, and other values that are logged."""
        self._steps.append(loss_and_n_obs.detach())
        self._values.append(values)
        if len(self._steps) == _STEPS_ON_DEVICE:
            self._collect()

    def _collect(self) -> None:
        steps = torch.stack(self._steps).tolist() if self._steps else []
        for (loss, n_obs), values in zip(steps, self._values, strict=True):
            for name, value in {"train_loss": loss, **values}.items():
                self._sums[name] = self._sums.get(name, 0.0) + value * n_obs
            self._sums[""] = self._sums.get("", 0.0) + n_obs
        self._steps, self._values = [], []

    @property
    def sums(self) -> dict[str, float]:
        """Sums over the cells so far, by name, and under an empty name their number."""
        self._collect()
        return self._sums

    @sums.setter
    def sums(self, sums: Mapping[str, float]) -> None:
        self._sums, self._steps, self._values = dict(sums), [], []

    def means(self) -> dict[str, float]:
        """Mean of each, by name; nothing before there is a batch."""
        sums = self.sums
        return {name: value / sums[""] for name, value in sums.items() if name}


class KeepState(Callback):
    """Write weights, optimiser, schedule, progress and randomness after every epoch, and when the process is terminated (SIGTERM).

    Parameters
    ----------
    path
        The file; what is there is replaced.
    identity
        What is trained on what, so that nothing else resumes from it.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.identity = dict(identity)
        self._random: list[torch.Tensor] = []
        self._is_over = self._stops = False

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of."""
        known = trainer.loggers[0].history if trainer.is_global_zero else {}  # the only process that logs, and that writes
        history = {name: table.iloc[:, 0].to_dict() for name, table in known.items()}
        if self._is_over:
            for name, value in pl_module.of_epoch.means().items():
                history.setdefault(name, {})[trainer.current_epoch] = value
        devices = [torch.cuda.get_rng_state()] if trainer.strategy.root_device.type == "cuda" else []
        checkpoint[STATE_KEY] = {
            "identity": self.identity,
            "history": history,
            "of_epoch": {} if self._is_over else pl_module.of_epoch.sums,
            "random": [torch.get_rng_state(), *devices],
            "stops": bool(trainer.should_stop),
        }

    def on_load_checkpoint(self, _trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take it up."""
        self._random = checkpoint[STATE_KEY]["random"]
        self._stops = checkpoint[STATE_KEY].get("stops", False)
        pl_module.of_epoch.sums = checkpoint[STATE_KEY]["of_epoch"]

    def on_train_start(self, _trainer: Any, _pl_module: Any) -> None:
        """Draw from where the training was."""
        for state, put in zip(self._random, (torch.set_rng_state, torch.cuda.set_rng_state), strict=False):
            put(state)

    def on_validation_end(self, trainer: Any, _pl_module: Any) -> None:
        """Write an epoch that was validated."""
        trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, _pl_module: Any) -> None:
        """Write an epoch of a training without validation, with what is about to be logged of it; end where it was about to end."""
        trainer.should_stop = trainer.should_stop or self._stops
        if trainer.limit_val_batches == 0:
            self._is_over = True
            trainer.save_checkpoint(self.path)
            self._is_over = False

    def on_exception(self, trainer: Any, _pl_module: Any, exception: BaseException) -> None:
        """Write where it was terminated."""
        if isinstance(exception, SIGTERMException):
            trainer.save_checkpoint(self.path)


class StateIO(CheckpointIO):
    """Reads and writes the state: tensors, numbers and strings, which run nothing; whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: Any | None = None) -> None:
        """Write it beside and move it into place."""
        del storage_options
        with written_beside(path, overwrite=True) as beside:
            tensors: dict[str, torch.Tensor] = {}
            text = json.dumps(_packed(checkpoint, tensors))
            content = dump_tensors(tensors, metadata={STATE_KEY: text, _HASH_KEY: _NO_HASH})
            entry = _HASH_ENTRY % _NO_HASH.encode()
            beside.write_bytes(content.replace(entry, _HASH_ENTRY % _sha256(content).encode(), 1))

    @override
    def load_checkpoint(
        self, path: str | PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it."""
        del map_location, weights_only
        return _read(Path(path))

    @override
    def remove_checkpoint(self, path: str | PathLike[str]) -> None:
        """Remove it."""
        Path(path).unlink(missing_ok=True)


def read_history(path: Path, identity: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Metrics by epoch of the training that a state is of.

    Raises
    ------
    DataFileError
        If the file is damaged.
    SettingError
        If it belongs to another training.
    """
    stored = _read(path)[STATE_KEY]
    if changed := sorted(name for name, value in identity.items() if stored["identity"].get(name) != value):
        raise SettingError(
            f"`{path.parent}` belongs to a training with other {listing(changed)}. Resume with the original settings, or use another "
            "`run_dir`."
        )
    return dict(stored["history"])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = strict_json.read_bytes(path, most=_MOST_BYTES)
        start = min(8 + int.from_bytes(content[:8], "little"), len(content))
        found = _HASH_OF_FILE.search(content, 8, start)
        if found is None:
            raise ValueError("it has no hash of its content, or was truncated")
        first, last = found.span(1)
        if _sha256(b"".join((content[:first], _NO_HASH.encode(), content[last:]))) != found[1].decode():
            raise ValueError("its content is not what was written: the SHA-256 differs")
        packed = strict_json.parse(strict_json.parse(content[8:start])["__metadata__"][STATE_KEY].encode())
        state: dict[str, Any] = _unpacked(packed, load_tensors(content))
        if not isinstance(state[STATE_KEY]["identity"], dict) or not isinstance(state[STATE_KEY]["history"], dict):
            raise TypeError("it does not hold a training")
    except (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataFileError(f"`{path}` cannot be read: {why}. Delete it, and train from the start.") from error
    return state


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Plain values for JSON; tensors are replaced by references and stored separately."""
    match value:
        case torch.Tensor():
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().contiguous().clone()
            return {"tensor": name}
        case dict():
            return {"dict": [[_packed(key, tensors), _packed(each, tensors)] for key, each in value.items()]}
        case list() | tuple():
            return {type(value).__name__: [_packed(each, tensors) for each in value]}
        case np.generic():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"A training cannot be kept that has a {type(value).__name__} in its state.")


def _unpacked(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    match kind:
        case "tensor":
            return tensors[held]
        case "dict":
            return {_unpacked(key, tensors): _unpacked(each, tensors) for key, each in held}
        case "list":
            return [_unpacked(each, tensors) for each in held]
        case "tuple":
            return tuple(_unpacked(each, tensors) for each in held)
    raise ValueError(f"`{kind}` is not known")
