"""Surface proteins of a query, as a model takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from sctab.data._joint import Proteins, proteins_of
from sctab.data.proteins._panel import ProteinMatch, ProteinPanel
from sctab.data.proteins._recipe import ProteinRecipe, protein_recipe
from sctab.data.proteins._scale import hide
from sctab.errors import listing

Hidden = Literal["none", "some", "all", "genes"]
"""Part of a query that is hidden from a model: nothing, a random half of the antibodies of each cell, all antibodies, or all genes."""
Measured = Literal["all", "some", "none", "only"]
"""Antibodies of a model that a query has: four fifths of them or more, fewer, none, or antibodies only, and no gene of the model."""
_ENOUGH = 0.8
_HIDDEN_SHARE = 0.5


@dataclass(frozen=True)
class QueryProteins:
    """Values of the antibodies of a model in the cells of a query."""

    panel: ProteinPanel
    n_obs: int
    match: ProteinMatch | None = None
    """Antibodies that were found; `None` for a query without antibodies."""
    recipe: ProteinRecipe | None = field(default=None, repr=False)
    """`None` where no antibody can be used."""
    proteins: Proteins | None = field(default=None, repr=False)
    hidden: Hidden = "none"
    has_genes: bool = True
    """False for a query without any gene of the model."""

    @property
    def measured(self) -> Measured:
        """Antibodies of the model that the query has."""
        if not self.has_genes or self.hidden == "genes":
            return "only"
        if self.match is None or not self.are_known or self.hidden == "all" or self.is_mostly_without:
            return "none"
        return "all" if self.match.coverage >= _ENOUGH and self.hidden == "none" else "some"

    @property
    def are_known(self) -> bool:
        """Return whether any antibody of the model can be used."""
        return self.recipe is not None and self.recipe.is_used

    @property
    def are_features(self) -> bool:
        """Return whether antibodies are among the features of the gene expression."""
        return self.proteins is not None and self.proteins.name == "X"

    @property
    def is_mostly_without(self) -> bool:
        """Return whether more than half of the cells have no proteins."""
        return self.recipe is None or 2 * self.recipe.n_measured < self.n_obs

    def table(self) -> pd.DataFrame:
        """List the antibodies of the model: `antibody`, `feature` of the query and `rule` that matched it, which are empty for none."""
        if self.match is not None:
            return self.match.table()
        return pd.DataFrame({"antibody": list(self.panel.names), "feature": "", "rule": ""}, dtype=object)

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Inputs of some cells: float32, `(stop - start, panel.n_inputs)`; zero for what was not measured."""
        if self.recipe is None or self.proteins is None or self.hidden == "all":
            return sparse.csr_matrix((stop - start, self.panel.n_inputs), dtype=np.float32)
        values = self.recipe.apply(self.proteins.rows(start, stop))
        if self.hidden == "some":
            rng = np.random.default_rng([0, start])
            values = hide(values, rng.random((len(values), len(self.panel))) >= _HIDDEN_SHARE, self.panel)
        return sparse.csr_matrix(np.asarray(values, dtype=np.float32))


def open_proteins(cells: Any, panel: ProteinPanel, hidden: Hidden = "none") -> tuple[QueryProteins, list[str]]:
    """Match the antibodies of a query to those of a model, and decide how their values are scaled; with notes for the user.

    Parameters
    ----------
    cells
        Any AnnData, MuData brought together, or open file.
    panel
        Antibodies of the model.
    hidden
        Antibodies to hide.

    Raises
    ------
    InputValueError
        If values are infinite.
    """
    found = proteins_of(cells)
    if found is None:
        return QueryProteins(panel, cells.n_obs), [
            f"The data has no surface proteins, and the model also learned from {len(panel)} antibodies: cells were annotated by gene "
            "expression alone."
        ]
    match = panel.match(found.names)
    if not match.found.any():
        theirs = f"among the {len(found.names)} of the data ({listing(found.names)})" if found.names else "in the data"
        return QueryProteins(panel, cells.n_obs, match), [
            f"None of the {len(panel)} antibodies of the model is {theirs}: cells were annotated by gene expression alone."
        ]
    recipe, notes = protein_recipe(panel, found.names, found.matrix, name=found.name, match=match)
    opened = QueryProteins(panel, cells.n_obs, match, recipe, found, hidden)
    if opened.are_known and opened.is_mostly_without:
        notes.append(
            "Most cells have no proteins, so all are calibrated as cells without. Annotate cells with proteins on their own for a "
            "calibration of theirs."
        )
    return opened, notes
