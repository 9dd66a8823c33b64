"""Arguments of a clustering, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sctab.errors import Parameter, SettingError, listing

CLUSTERING_SETTINGS: dict[str, Any] = {"n_latent": 32, "encoder": (256, 64), "sigma": 2.5, "gamma": 1.0, "n_clusters": 0}
"""Settings of the architecture, and their defaults."""


def clustering_architecture(n_latent: int, encoder: Sequence[int], sigma: float, gamma: float, n_clusters: int) -> dict[str, Any]:
    """Settings as they are stored, checked."""
    for name, value, least in (("sigma", sigma, 0.0), ("gamma", gamma, 0.0), ("n_clusters", n_clusters, 0)):
        if isinstance(value, bool) or not (least <= value < float("inf")):
            raise SettingError(Parameter(name, value), f" must be at least {least:g}.")
    if n_clusters != int(n_clusters) or n_clusters == 1:
        raise SettingError(Parameter("n_clusters", n_clusters), " must be 0, which has it estimated, or at least 2.")
    widths = [int(width) for width in encoder]
    return {
        "n_latent": int(n_latent),
        "encoder": widths,
        "sigma": float(sigma),
        "gamma": float(gamma),
        "n_clusters": int(n_clusters),
    }


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
