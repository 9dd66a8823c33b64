"""Arguments of a clustering, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from sctab.errors import Parameter, SettingError, listing

CLUSTERING_SETTINGS: dict[str, Any] = {"n_latent": 32, "encoder": (256, 64), "sigma": 2.5, "gamma": 1.0, "n_clusters": 0}
"""Settings of the architecture, and their defaults."""


def clustering_architecture(n_latent: int, encoder: Sequence[int], sigma: float, gamma: float, n_clusters: int) -> dict[str, Any]:
    """Settings as they are stored, checked."""
    for name, value in (("sigma", sigma), ("gamma", gamma)):
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise SettingError(Parameter(name, value), " must be a number, at least 0.")
    if not _is_integer(n_clusters) or n_clusters < 0 or n_clusters == 1:
        raise SettingError(Parameter("n_clusters", n_clusters), " must be 0, which has it estimated, or an integer of at least 2.")
    if not _is_integer(n_latent) or n_latent < 1:
        raise SettingError(Parameter("n_latent", n_latent), " must be an integer, at least 1.")
    widths = [] if isinstance(encoder, str) or not isinstance(encoder, Iterable) else list(encoder)
    if not widths or not all(_is_integer(width) and width >= 1 for width in widths):
        raise SettingError(
            Parameter("encoder", encoder),
            " must be a list of widths of layers, integers of at least 1, such as `(256, 64)`.",
        )
    return {
        "n_latent": int(n_latent),
        "encoder": [int(width) for width in widths],
        "sigma": float(sigma),
        "gamma": float(gamma),
        "n_clusters": int(n_clusters),
    }


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def gene_positions(names: Sequence[str], *of_genes: Sequence[str]) -> list[int]:
    """Position of each gene among those of the model."""
    known: dict[str, int] = {}
    for each in of_genes:
        for position, name in enumerate(each):
            known.setdefault(name, position)
    if isinstance(names, str) or (missing := [name for name in names if name not in known]):
        raise SettingError(
            "`gene_list` must be a list of genes."
            if isinstance(names, str)
            else f"The model does not have the genes {listing(missing)}."
        )
    return [known[name] for name in names]
