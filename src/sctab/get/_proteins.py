"""The antibodies of a model in a dataset."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.data import open_proteins, require_cells
from sctab.errors import SettingError
from sctab.inference import HasPredictor
from sctab.zoo import load_predictor

if TYPE_CHECKING:
    from mudata import MuData


def proteins(adata: AnnData | MuData, model: str | PathLike[str] | HasPredictor) -> pd.DataFrame:
    """List the antibodies of a model, and how they were matched to those of a dataset, see :doc:`/proteins`.

    Antibodies are matched as in :func:`sctab.tl.annotate`, and the data does not need to be annotated.

    Parameters
    ----------
    adata
        A MuData with surface proteins, or an AnnData with antibodies among its features.
    model
        As in :func:`sctab.tl.annotate`.

    Returns
    -------
    A row per antibody of the model, the most important first:

    `antibody` : str
        Its name in the reference.
    `feature` : str
        Its name in the dataset; several are separated by semicolons. Empty where it is missing.
    `rule` : str
        How it was matched; empty where it is missing.
    `importance` : float
        Fraction of the model's decisions that it carries, of all genes and antibodies.

    Raises
    ------
    SettingError
        If the model did not learn from proteins.
    ModelNotFoundError, ModelFormatError, InputTypeError
        As in :func:`sctab.tl.annotate`.

    Examples
    --------
    >>> sctab.get.proteins(mdata, model)  # doctest: +SKIP
    """
    require_cells(adata)
    predictor = load_predictor(model)
    panel = predictor.spec.proteins
    if panel is None:
        raise SettingError("The model did not learn from surface proteins. `sctab.get.genes` lists its genes.")
    found, _ = open_proteins(predictor.cells_of(adata), panel)
    importance = predictor.spec.training.get("protein_importance", np.full(len(panel), np.nan))
    table = found.table().assign(importance=np.asarray(importance, dtype=float))
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
