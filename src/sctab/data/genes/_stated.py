"""Of which species cells are said to be, in `obs` and `uns`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from sctab.data.genes._columns import is_text, strings
from sctab.data.genes._species import Species, organism
from sctab.keys import SPECIES_KEYS

CORRECT = "one of the two is wrong: correct it, or leave these cells out"
"""Fix for reference cells of another species."""
_TAXON = re.compile(r"NCBITaxon:\d+", re.IGNORECASE)
_MOST_VALUES = 100
"""Columns of more values than this hold something else."""


@dataclass(frozen=True)
class StatedSpecies:
    """Of which species cells are said to be."""

    n_obs: int
    found: Mapping[str, tuple[int, str]]
    """For each species, the cells that are said to be of it, and where and how that is written."""

    @classmethod
    def of(cls, obs: pd.DataFrame, uns: Mapping[str, Any], *, source: str = "") -> Self:
        """Read the species that the tables of a dataset state.

        Parameters
        ----------
        obs
            Annotation of the cells, `(n_obs, …)`.
        uns
            Annotation of the dataset.
        source
            How notes call the dataset, where there are several.
        """
        behind = f" of `{source}`" if source else ""
        found: dict[str, tuple[int, str]] = {}
        for place, counts in _places(obs, uns):
            in_place: dict[str, tuple[int, str]] = {}
            for text, n_cells in counts.items():
                for name in _species_in(text):
                    known, where = in_place.get(name, (0, f"{place}{behind}: `{text}`"))
                    in_place[name] = (known + n_cells, where)
            for name, (n_cells, where) in in_place.items():  # several places say the same
                known, first = found.get(name, (0, where))
                found[name] = (max(known, n_cells), first)
        return cls(len(obs), found)

    @classmethod
    def join(cls, parts: Iterable[StatedSpecies]) -> Self:
        """Join the statements of several datasets."""
        n_obs = 0
        found: dict[str, tuple[int, str]] = {}
        for part in parts:
            n_obs += part.n_obs
            for name, (n_cells, where) in part.found.items():
                known, first = found.get(name, (0, where))
                found[name] = (known + n_cells, first)
        return cls(n_obs, found)

    def notes(self, genes: Species | None, *, owner: str, fix: str) -> list[str]:
        """Notes on cells of several species, or of another one than that of the genes.

        Parameters
        ----------
        genes
            Species of the genes.
        owner, fix
            Whose genes they are, and what to do unless they are orthologs.
        """
        others = [name for name in self.found if genes is not None and Species(name, is_certain=True).contradicts(genes)]
        if not others and len(self.found) < 2:
            return []
        of_genes = "" if genes is None else f", and the genes of {owner} are those of {genes.name}"
        if len(self.found) > 1:
            listed = ", ".join(f"{n_cells:,} of {name} ({where})" for name, (n_cells, where) in self.found.items())
            return [f"The cells are from several species: {listed}{of_genes}. Separate the cells by species."]
        ((name, (n_cells, where)),) = self.found.items()
        cells = "The cells are" if n_cells == self.n_obs else f"{n_cells:,} of {self.n_obs:,} cells are"
        return [
            f"{cells} from {name} ({where}){of_genes}. This is valid only if the genes were replaced by their orthologs, whose "
            f"expression differs; otherwise {fix}."
        ]


def _places(obs: pd.DataFrame, uns: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """Each place in which a species may be written, and the cells of each of its values."""
    for key in SPECIES_KEYS:
        if key in obs.columns and is_text(obs[key]) and obs[key].nunique() <= _MOST_VALUES:
            counts = obs[key].value_counts()
            values = strings(pd.Series(counts.index.astype(object)))
            yield f"`obs[{key!r}]`", {value: int(n) for value, n in zip(values, counts, strict=True) if n}
    for key in SPECIES_KEYS:
        yield f"`uns[{key!r}]`", dict.fromkeys(_strings_of(uns.get(key)), len(obs))


def _species_in(text: str) -> list[str]:
    """The species that a string names, which may be several: `Homo sapiens; Mus musculus`."""
    parts = re.split(r"[;,|/+&]|\s+and\s+", re.sub(r"\(.*?\)", "", text))
    named = (organism(part) or (f"another species, {part.strip()}" if _TAXON.fullmatch(part.strip()) else None) for part in parts)
    return list(dict.fromkeys(name for name in named if name))


def _strings_of(value: Any) -> list[str]:
    if isinstance(value, str | bytes):
        value = [value]
    if not isinstance(value, list | tuple | np.ndarray) or np.size(value) > _MOST_VALUES:
        return []
    values = pd.Series(np.ravel(np.asarray(value, dtype=object)), dtype=object)
    return strings(values) if is_text(values) else []
