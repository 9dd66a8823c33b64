"""Roles of the modalities of a MuData: gene expression and antibodies, by names that are known and by features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sctab.data._modality import choose_modality
from sctab.data.genes._features import find_antibodies
from sctab.data.proteins._antigens import antigen_of
from sctab.errors import InputValueError, KeyNotFoundError, Parameter, did_you_mean, listing
from sctab.io import ChooseBeside

RNA, PROTEIN = "rna", "protein"
"""Roles that a modality of a MuData can have."""


def find_modalities(
    tables: Mapping[str, pd.DataFrame], choose: Callable[[Mapping[str, pd.DataFrame]], str] | None = None
) -> dict[str, str]:
    """Roles of modalities by their features: the one with gene expression and the one with antibodies, where there are such.

    Parameters
    ----------
    tables
        `var` of each modality.
    choose
        Gives the name of the one with gene expression, see :func:`choose_modality`.

    Examples
    --------
    >>> find_modalities({"prot": pd.DataFrame(index=["CD3", "CD4", "CD8"]), "rna": pd.DataFrame(index=["CD3D", "CD8A", "MS4A1"])})
    {'rna': 'rna', 'protein': 'prot'}
    """
    shares = {name: _share_of_antibodies(name, var) for name, var in tables.items()}
    protein = max(shares, key=lambda name: shares[name])
    if shares[protein] < _MOSTLY:
        return {RNA: (choose or choose_modality())(tables)}
    if len(tables) == 1:
        return {PROTEIN: protein}
    others = {name: var for name, var in tables.items() if name != protein}
    return {RNA: (choose or choose_modality())(others), PROTEIN: protein}


def choose_expression() -> Callable[[Mapping[str, pd.DataFrame]], str]:
    """Function from the features of each modality to the one with gene expression, where no model says which genes it has.

    Examples
    --------
    >>> choose_expression()({"prot": pd.DataFrame(index=["CD3", "CD4"]), "rna": pd.DataFrame(index=["gene1", "gene2"])})
    'rna'
    """

    def chosen(tables: Mapping[str, pd.DataFrame]) -> str:
        return find_modalities(tables).get(RNA) or next(iter(tables))

    return chosen


def choose_known(
    choose: Callable[[Mapping[str, pd.DataFrame]], str], known: Mapping[str, str] | None
) -> Callable[[Mapping[str, pd.DataFrame]], str]:
    """Function from the features of each modality to the one with gene expression; one that a model learned from comes first.

    Parameters
    ----------
    choose
        As in :func:`find_modalities`.
    known
        Modality of each role in the reference of a model.

    Raises
    ------
    InputValueError
        By the function, if no modality holds gene expression.
    """

    def chosen(tables: Mapping[str, pd.DataFrame]) -> str:
        if known and set(known.values()) <= set(tables):
            return known[RNA]
        found = find_modalities(tables, choose)
        if RNA not in found:
            raise InputValueError(_ANTIBODIES_ALONE)
        return found[RNA]

    return chosen


def choose_proteins(known: Mapping[str, str] | None = None, wanted: str | None = None) -> ChooseBeside:
    """Function from the features of each modality, and the one that is read, to the one with antibodies; `None` where there is none.

    Parameters
    ----------
    known
        Modality of each role in the reference of a model.
    wanted
        Name of the modality, or `"none"`; by default it is found by its features.

    Raises
    ------
    KeyNotFoundError, InputValueError
        By the function, if there is no such modality, or if the only one holds antibodies.

    Examples
    --------
    >>> tables = {"prot": pd.DataFrame(index=["CD3", "CD4", "CD8"]), "rna": pd.DataFrame(index=["CD3D", "CD8A", "MS4A1"])}
    >>> choose_proteins()(tables, "rna")
    'prot'
    """

    def chosen(tables: Mapping[str, pd.DataFrame], read: str) -> str | None:
        others = {name: var for name, var in tables.items() if name != read}
        if not others and _share_of_antibodies(read, tables[read]) >= _MOSTLY:
            raise InputValueError(_ANTIBODIES_ALONE)
        if wanted == NO_PROTEINS:
            return None
        if wanted is not None:
            if wanted not in others:
                raise KeyNotFoundError(
                    Parameter("protein_modality", wanted),
                    f" is not another modality of the data.{did_you_mean(wanted, list(others))} Available: {listing(list(others))}.",
                )
            return wanted
        if known and set(known.values()) <= set(tables) and known.get(PROTEIN) in others:
            return known[PROTEIN]
        shares = {name: _share_of_antibodies(name, var) for name, var in others.items()}
        return max(shares, key=lambda name: shares[name]) if shares and max(shares.values()) >= _MOSTLY else None

    return chosen


_ANTIBODIES_ALONE = (
    "The file has antibodies and no gene expression. Read it with `mudata.read_h5mu(path)`, and annotate the cells with "
    "`sctab.tl.annotate`."
)
NO_PROTEINS = "none"
"""Name of a modality by which a user asks for gene expression alone."""
_MOSTLY = 0.5
"""Fraction of the features of a modality that must be antibodies."""
_USUAL = ("prot", "adt", "antibody", "surface", "abseq")
_HINT = 0.3
"""Fraction of antibodies that such a name counts for, where some features are antibodies."""
_SOME = 0.2


def _share_of_antibodies(name: str, var: pd.DataFrame) -> float:
    """Fraction of the features that are antibodies by their names, and are not genes; of a modality whose name says so, a bit more."""
    if not len(var):
        return 0.0
    readings = [antigen_of(str(each)) for each in var.index]
    named = float(np.mean([reading is not None and not reading.is_gene for reading in readings]))
    typed = float(find_antibodies(var).mean())
    share = max(named, typed)
    return share + _HINT * (share >= _SOME and any(word in name.lower() for word in _USUAL))


def antibodies_beside(cells: Any) -> int:
    """Number of antibodies in another modality of an open file.

    Parameters
    ----------
    cells
        The file, or anything else, which has none.
    """
    tables = getattr(cells, "tables", {})
    name = choose_proteins()(tables, cells.modality) if len(tables) > 1 else None
    return 0 if name is None else len(tables[name])
