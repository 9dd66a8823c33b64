"""Adadelta in one pass over the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sctab.io import compiled


class Adadelta(torch.optim.Adadelta):
    """Adadelta of PyTorch, with the same state and updates, in one pass over weights on the CPU.

    On other devices, and with a weight decay, the step is that of PyTorch, which makes eight passes.

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, 2012, :doi:`10.48550/arXiv.1212.5701`.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step down the gradients."""
        groups = [(group, [each for each in group["params"] if each.grad is not None]) for group in self.param_groups]
        if closure is not None or not all(_is_plain(group, parameters) for group, parameters in groups):
            return super().step(closure)
        for group, parameters in groups:
            for parameter in parameters:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    state["square_avg"], state["acc_delta"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] += 1
                arrays = (parameter, parameter.grad, state["square_avg"], state["acc_delta"])
                flat = [array.detach().numpy().ravel() for array in arrays if array is not None]
                numbers = (group["lr"], group["rho"], group["eps"], 1 - group["rho"])
                _update(*flat, *map(flat[0].dtype.type, numbers))
        return None


def _is_plain(group: dict[str, Any], parameters: list[torch.Tensor]) -> bool:
    return not (group["weight_decay"] or group["maximize"]) and all(
        each.device.type == "cpu"
        and each.dtype in (torch.float32, torch.float64)
        and each.is_contiguous()
        and _has_plain_gradient(each)
        for each in parameters
    )


def _has_plain_gradient(parameter: torch.Tensor) -> bool:
    return parameter.grad is not None and parameter.grad.is_contiguous()


@compiled
def _update(
    weights: NDArray[np.floating],
    gradients: NDArray[np.floating],
    squares: NDArray[np.floating],
    updates: NDArray[np.floating],
    lr: np.floating,
    rho: np.floating,
    eps: np.floating,
    rest: np.floating,
) -> None:
    """Update weights and running means of squared gradients and of squared updates."""
    for i in range(len(weights)):
        gradient = gradients[i]
        squares[i] = rho * squares[i] + rest * gradient * gradient
        update = np.sqrt((updates[i] + eps) / (squares[i] + eps)) * gradient
        updates[i] = rho * updates[i] + rest * update * update
        weights[i] -= lr * update
