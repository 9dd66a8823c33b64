"""Covariates of cells: columns of `obs`, encoded after the genes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from sctab.errors import Message, listing, place


@dataclass(frozen=True)
class Covariate:
    """A column of `obs` that a model looks at, such as the tissue, and the categories that it has learned."""

    key: str
    categories: tuple[str, ...]


def find_covariates(obs: pd.DataFrame, keys: Iterable[str]) -> tuple[Covariate, ...]:
    """The categories that some columns of a reference have, in alphabetical order; a missing value is none."""
    return tuple(Covariate(key, tuple(sorted(set(obs[key].dropna().astype(str))))) for key in keys)


def one_hot(obs: pd.DataFrame, covariates: Sequence[Covariate]) -> sparse.csr_matrix:
    """One column per category, 1 for the cells that are of it: float32, `(n_obs, n_categories)`.

    A row is zero in the columns of a covariate that `obs` does not have, that is missing in this cell, or whose category is unknown.
    """
    parts = [sparse.csr_matrix((len(obs), 0), dtype=np.float32)]
    for covariate in covariates:
        codes = pd.Index(covariate.categories).get_indexer(obs[covariate.key].astype(str)) if covariate.key in obs else None
        cells = np.arange(0) if codes is None else np.flatnonzero(codes >= 0)
        columns = np.arange(0) if codes is None else codes[cells]
        ones = np.ones(len(cells), dtype=np.float32)
        parts.append(sparse.csr_matrix((ones, (cells, columns)), shape=(len(obs), len(covariate.categories))))
    return sparse.hstack(parts, format="csr")


def with_covariates(values: sparse.csr_matrix, covariates: sparse.csr_matrix) -> sparse.csr_matrix:
    """The input of a network, `(n_obs, n_inputs)`: expression followed by covariates."""
    return sparse.hstack([values, covariates], format="csr") if covariates.shape[1] else values


def notes_on_covariates(obs: pd.DataFrame, covariates: Sequence[Covariate]) -> list[str]:
    """Notes on missing covariates and on categories that the model does not know."""
    notes: list[str] = []
    for covariate in covariates:
        if covariate.key not in obs:
            what = f" has no column `{covariate.key}`, a covariate of the model: cells were annotated without it."
            notes.append(Message(place("obs"), what))
            continue
        values = obs[covariate.key].dropna().astype(str)
        if unknown := sorted(set(values) - set(covariate.categories)):
            what = (
                f" has values that the model does not know: {listing(unknown)}. {int(values.isin(unknown).sum())} cells were annotated "
                f"without it. It knows: {listing(covariate.categories)}."
            )
            notes.append(Message(place(f"obs[{covariate.key!r}]"), what))
    return notes
