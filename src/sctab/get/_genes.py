"""The genes of a model, and which of them a dataset has."""

from __future__ import annotations

from os import PathLike

import pandas as pd
from anndata import AnnData

from sctab.data import gene_table, require_cells
from sctab.inference import HasPredictor
from sctab.keys import DEFAULT_MODEL
from sctab.zoo import load_predictor


def genes(adata: AnnData, model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL, *, layer: str | None = None) -> pd.DataFrame:
    """Get the genes of a model, which of them the data has, and how much each matters.

    Genes are matched as in :func:`sctab.tl.annotate`, and the data does not need to be annotated. The sum of `importance` over the missing
    genes is what the model has to do without.

    Parameters
    ----------
    adata
        Cells, annotated or not.
    model
        As in :func:`sctab.tl.annotate`.
    layer
        As in :func:`sctab.tl.annotate`: the features of `raw` may be others than those of `X`.

    Returns
    -------
    A row per gene of the model, the most important first. The index is a unique name, and the columns are

    `gene_id`, `gene_symbol` : str
        Ensembl id and symbol; empty where the model does not know it.
    `found` : bool
        Whether the data has it.
    `feature` : str
        Its name in the index of `adata.var`, or of `adata.raw.var`; the first of several. Empty where it is missing.
    `n_features` : int
        How many features were summed to it; 0 where it is missing.
    `source` : str
        Where its name was found: `index`, or a column of `var`. Empty where it is missing.
    `importance` : float
        Fraction of the total importance. The column sums to 1, and over the genes that were found to the coverage that
        :func:`sctab.tl.annotate` reports.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model is not found or cannot be trusted.
    InputTypeError, KeyNotFoundError, InputValueError
        As in :func:`sctab.tl.annotate`.
    GeneOverlapError
        If the data has none of the genes, or is from another species.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     table = sctab.get.genes(adata, "pbmc")
    >>> missing = table[~table["found"]]
    >>> len(table), len(missing), round(float(missing["importance"].sum()), 2)
    (6512, 6102, 0.76)
    """
    require_cells(adata)
    predictor = load_predictor(model)
    query = predictor.open_query(predictor.cells_of(adata), layer=layer, min_gene_coverage=0.0)
    return gene_table(predictor.spec.features, query.match, query.source.var, predictor.gene_importance)
