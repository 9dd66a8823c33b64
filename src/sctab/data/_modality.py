"""Choice between the modalities of a file, or its genomes, by their features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.genes._features import gene_expression
from sctab.data.genes._names import kind_of
from sctab.data.genes._space import FeatureSpace
from sctab.errors import Message, Parameter, SctabError, listing

_USUAL = {"rna", "gex"}
_NAMES = {"symbols", "Ensembl ids"}
"""Kinds of names that genes have."""


def choose_modality(
    features: FeatureSpace | None = None, importance: NDArray[np.floating] | None = None
) -> Callable[[Mapping[str, pd.DataFrame]], str]:
    """Function from the features of each modality to the name of the one with gene expression.

    Parameters
    ----------
    features
        The genes of a model: the modality that has most of what they carry is chosen, so that of two genomes it is that of its species.
        By default the one with most features that are named like genes.
    importance
        Fraction of the model's decisions that each gene carries, `(n_vars,)`.

    Examples
    --------
    >>> choose_modality()({"prot": pd.DataFrame(index=["CD3_TotalSeqB"]), "rna": pd.DataFrame(index=["CD3D", "CD8A"])})
    'rna'
    """

    def score(var: pd.DataFrame) -> float:
        try:
            is_gene = gene_expression(var)
            if features is not None:
                return float(features.match(var, importance=importance).coverage)
        except SctabError:
            return 0.0
        return float(sum(kind_of(str(name)) in _NAMES for name in var.index[is_gene]))

    return lambda tables: max(tables, key=lambda name: (score(tables[name]), name.lower() in _USUAL))


def note_on_choice(chosen: str, known: Iterable[str]) -> Message:
    """Note on which part of a file is used, where it has several and the user named none."""
    return Message(f"`{chosen}` was used, of {listing(known)}. Choose another with ", Parameter("modality"), ".")


def notes_on_modality(cells: Any) -> list[str]:
    """Notes on which part of a file is used, where it has several and the user named none; and on labels or a better file beside it."""
    notes: list[str] = []
    modality, known = getattr(cells, "modality", None), getattr(cells, "modalities", [])
    if (beside := getattr(cells, "beside", None)) is not None:
        known = [name for name in known if name != beside.name]
    if modality is not None and len(known) > 1 and not cells.is_modality_given:
        notes.append(note_on_choice(modality, known))
    if (of_run := getattr(cells, "run_labels", None)) is not None:
        notes += of_run.notes
    if filtered := getattr(cells, "filtered", ""):
        notes.append(f"`{cells.path}` holds all barcodes, and `{filtered}` beside it those of cells only.")
    return notes
