r"""Zero-inflated negative binomial: the distribution of counts that the decoder of an autoencoder describes.

A count :math:`x` of a gene with mean :math:`\mu` and dispersion :math:`\theta` is an excess zero with probability :math:`\pi`, and negative
binomial otherwise (Eraslan et al. 2019, :doi:`10.1038/s41467-018-07931-2`, equation 4).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-10
"""Added inside logarithms and quotients, as in the published code."""
MEAN_BOUNDS = 1e-5, 1e6
_DISPERSION_BOUNDS = 1e-4, 1e4
_CHUNK = 2**15
"""Values that are computed at a time on a processor, so that what is computed of them stays in its cache."""


class ZINBOutput(NamedTuple):
    """Output of the decoder before its activations, each `(n_obs, n_vars)`."""

    mean: Tensor
    dispersion: Tensor
    dropout: Tensor


class ZINB(NamedTuple):
    """Parameters of the distribution, each `(n_obs, n_vars)`."""

    mean: Tensor
    """Mean of a cell whose size factor is one."""
    dispersion: Tensor
    """Inverse overdispersion: the variance of a count is `mean + mean² / dispersion`."""
    dropout: Tensor
    """Probability of an excess zero."""

    @classmethod
    def of(cls, output: ZINBOutput) -> ZINB:
        """Apply the activations: bounded exponential, bounded softplus, and logistic function."""
        return cls(
            output.mean.exp().clamp(*MEAN_BOUNDS),
            functional.softplus(output.dispersion).clamp(*_DISPERSION_BOUNDS),
            output.dropout.sigmoid(),
        )


class SparseCounts(NamedTuple):
    """The non-zero counts of a batch."""

    positions: Tensor
    """Position of each among the `n_obs * n_vars` values of the dense matrix, row by row, each once, int64, `(n_values,)`."""
    values: Tensor
    """Counts above zero, `(n_values,)`."""
    size_factors: Tensor
    """Total of each cell over the total of a typical cell, `(n_obs,)`."""


def zinb_loss(counts: Tensor, parameters: ZINB, size_factors: Tensor) -> Tensor:
    r"""Mean negative log-likelihood of counts, operation by operation as in the published code.

    .. math::
        \mathrm{NB}(x) = \frac{\Gamma(x + \theta)}{\Gamma(\theta) \, x!}
            \left(\frac{\theta}{\theta + s\mu}\right)^\theta \left(\frac{s\mu}{\theta + s\mu}\right)^x, \qquad
        \ell = -\log\left(\pi \, [x = 0] + (1 - \pi) \, \mathrm{NB}(x)\right)

    Training uses `sparse_zinb_loss`, which gives the same numbers; this is what that is tested against.

    Parameters
    ----------
    counts
        Dense counts :math:`x`, `(n_obs, n_vars)`.
    parameters
        :math:`\mu`, :math:`\theta` and :math:`\pi`.
    size_factors
        :math:`s` of each cell, `(n_obs,)`.

    Returns
    -------
    The mean of :math:`\ell` over all values, a scalar.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> zinb_loss(torch.zeros(1, 1), ZINB(one, one, 0 * one), torch.ones(1))  # -log(1 / 2)
    tensor(0.6931)
    """
    mean, dispersion, dropout = parameters.mean * size_factors[:, None], parameters.dispersion, parameters.dropout
    of_gamma = torch.lgamma(dispersion + _EPSILON) + torch.lgamma(counts + 1) - torch.lgamma(counts + dispersion + _EPSILON)
    of_powers = (dispersion + counts) * torch.log1p(mean / (dispersion + _EPSILON)) + counts * (
        torch.log(dispersion + _EPSILON) - torch.log(mean + _EPSILON)
    )
    of_count = of_gamma + of_powers - torch.log(1 - dropout + _EPSILON)
    negative_binomial_zero = (dispersion / (dispersion + mean + _EPSILON)) ** dispersion
    of_zero = -torch.log(dropout + (1 - dropout) * negative_binomial_zero + _EPSILON)
    return torch.where(counts > 0, of_count, of_zero).mean()


def sparse_zinb_loss(counts: SparseCounts, output: ZINBOutput) -> Tensor:
    """:func:`zinb_loss` of sparse counts and of the output before its activations, with its gradient in closed form.

    Nine in ten counts are zero. All values are computed as if they were, in one pass that leaves gradients and nothing else in memory; then
    the others are computed, in double precision, since their terms are differences of large numbers.

    Parameters
    ----------
    counts
        Non-zero counts.
    output
        Output of the decoder before its activations, `(n_obs, n_vars)`.

    Returns
    -------
    The mean over all values, a scalar.
    """
    loss: Tensor = _SparseZINBLoss.apply(output.mean, output.dispersion, output.dropout, counts)
    return loss


class _SparseZINBLoss(torch.autograd.Function):
    """Loss and gradients with respect to the three outputs."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, dispersion: Tensor, dropout: Tensor, counts: SparseCounts) -> Tensor:
        """Compute the loss, and gradients while its parts are there."""
        gradients = [torch.empty_like(output, memory_format=torch.contiguous_format) for output in (mean, dispersion, dropout)]
        n_rows = len(mean) if mean.device.type != "cpu" else max(1, _CHUNK // mean.shape[1])

        def of_rows(start: int) -> Tensor:
            rows = slice(start, start + n_rows)
            with torch.no_grad():  # a thread has its own mode
                return _as_zeros(
                    mean[rows], dispersion[rows], dropout[rows], counts.size_factors[rows], [each[rows] for each in gradients]
                )

        n_threads = torch.get_num_threads() if mean.device.type == "cpu" else 1
        with ThreadPoolExecutor(n_threads) as pool:  # chunks are too small for PyTorch to compute one in several threads
            parts = list((map if n_threads == 1 else pool.map)(of_rows, range(0, len(mean), n_rows)))
        total = torch.stack(parts).sum() + _replace_zeros(mean, dispersion, dropout, counts, gradients)
        ctx.save_for_backward(*gradients)
        return (total / mean.numel()).to(mean.dtype)

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients where they are; a second call is refused by PyTorch."""
        return (*(gradient.mul_(of_loss[0] / gradient.numel()) for gradient in ctx.saved_tensors), None)


def _exact(values: Tensor) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _as_zeros(mean: Tensor, dispersion: Tensor, dropout: Tensor, size_factors: Tensor, gradients: list[Tensor]) -> Tensor:
    r"""Sum of the losses of rows as if all counts were zero; gradients are written.

    With :math:`t = (s\mu + \epsilon) / \theta` the negative binomial probability of zero is :math:`z = (1 + t)^{-\theta}`.
    """
    of_mean, of_dispersion, of_dropout = gradients
    raw = mean.exp()
    mu = raw.clamp(*MEAN_BOUNDS)
    is_within = raw.eq_(mu)  # one where the exponential is not bounded
    mu.mul_(size_factors[:, None])
    soft = functional.softplus(dispersion)
    theta = soft.clamp(*_DISPERSION_BOUNDS)
    is_free = soft.eq_(theta)
    torch.sigmoid(dropout, out=of_dropout)  # pi, for now
    ratio = (mu + _EPSILON).div_(theta)
    log_base = torch.log1p(ratio).neg_()
    zero = torch.mul(log_base, theta).exp_()
    rest = 1 - of_dropout
    inverse = torch.mul(rest, zero).add_(of_dropout).add_(_EPSILON)
    total = inverse.log().sum(dtype=_exact(mean)).neg_()
    inverse.reciprocal_()
    of_log_zero = torch.mul(rest, zero).mul_(inverse).neg_()  # of the loss with respect to log z
    of_dropout.mul_(rest).mul_(zero.sub_(1)).mul_(inverse)
    base = ratio.add(1).reciprocal_()  # theta / (theta + s mu)
    # d log z / d theta = log(1 / (1 + t)) + t / (1 + t), and d log z / d mu = -1 / (1 + t)
    torch.mul(ratio, base, out=of_dispersion)
    of_dispersion.add_(log_base).mul_(of_log_zero).mul_(torch.sigmoid(dispersion)).mul_(is_free)
    torch.mul(of_log_zero, base, out=of_mean)
    of_mean.mul_(mu).mul_(is_within).neg_()
    return total


def _replace_zeros(mean: Tensor, dispersion: Tensor, dropout: Tensor, counts: SparseCounts, gradients: list[Tensor]) -> Tensor:
    """Sum of the losses of non-zero counts less what :func:`_as_zeros` added for them; their gradients are written."""
    exact, at = _exact(mean), counts.positions
    a, d, c = (output.reshape(-1).index_select(0, at).to(exact) for output in (mean, dispersion, dropout))
    x, size = counts.values.to(exact), counts.size_factors.to(exact)[at // mean.shape[1]]
    raw, soft = a.exp(), functional.softplus(d)
    mu, theta, pi = raw.clamp(*MEAN_BOUNDS), soft.clamp(*_DISPERSION_BOUNDS), c.sigmoid()
    is_within, is_free = raw == mu, soft == theta
    mu = mu * size
    as_zero = -torch.log(pi + (1 - pi) * torch.exp(-theta * torch.log1p((mu + _EPSILON) / theta)) + _EPSILON)
    shifted = theta + _EPSILON
    log_ratio = torch.log1p(mu / shifted)
    loss = torch.lgamma(shifted) + torch.lgamma(x + 1) - torch.lgamma(x + shifted)
    loss = loss + (theta + x) * log_ratio + x * (torch.log(shifted) - torch.log(mu + _EPSILON)) - torch.log(1 - pi + _EPSILON)
    of_mu = (theta + x) / (shifted + mu) - x / (mu + _EPSILON)
    of_theta = torch.digamma(shifted) - torch.digamma(x + shifted) + log_ratio + x / shifted
    of_theta = of_theta - (theta + x) * mu / (shifted * (shifted + mu))
    of_pi = 1 / (1 - pi + _EPSILON)
    found = (of_mu * mu * is_within, of_theta * d.sigmoid() * is_free, of_pi * pi * (1 - pi))
    for gradient, values in zip(gradients, found, strict=True):
        gradient.view(-1).index_copy_(0, at, values.to(gradient.dtype))
    return (loss - as_zero).sum()
