"""Devices."""

from __future__ import annotations

import torch

from sctab.errors import Parameter, SettingError

_ACCELERATORS = ("auto", "cpu", "gpu", "mps")


def device_of(accelerator: str) -> torch.device:
    """The device of an accelerator; `"auto"` is a GPU where PyTorch sees one, and the CPU otherwise.

    Parameters
    ----------
    accelerator
        `"auto"`, `"cpu"`, `"gpu"` (also `"cuda"`) or `"mps"`.

    Raises
    ------
    SettingError
        If it is none of these, or not in this machine.
    """
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if accelerator == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "cuda", "mps"):
        raise SettingError(
            Parameter("accelerator", accelerator), " is not in this machine, or PyTorch cannot use it. Use `auto` or `cpu`."
        )
    raise SettingError(
        Parameter("accelerator", accelerator), f" is not known. Choose one of {', '.join(f'`{name}`' for name in _ACCELERATORS)}."
    )
