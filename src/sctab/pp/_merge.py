"""Merging of AnnData with different genes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sctab.corpus import INTERSECTION, UNION, join_genes
from sctab.data import (
    CORRECT,
    Content,
    FeatureSpace,
    StatedSpecies,
    choose_source,
    require_anndata,
    require_cells_in_rows,
    stated_species,
)
from sctab.errors import InputTypeError, InputValueError, Parameter, SettingError, listing, warn
from sctab.io import row_blocks
from sctab.keys import DEFAULT_KEY_ADDED, OBS_SOURCE, VARM_MEASURED


def merge(
    adatas: Mapping[str, AnnData] | Sequence[AnnData],
    *,
    features: str | FeatureSpace = UNION,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> AnnData:
    """Merge several datasets with different genes in memory; for larger data, see :func:`sctab.corpus.build`.

    Genes are matched by Ensembl id or symbol, from the index or any column of `var`. Values are counts, or rescaled to counts.

    Parameters
    ----------
    adatas
        Datasets, `(n_obs, n_vars)` each, with names or in order; they are not changed.
    features
        `"union"`: genes of any dataset; one that a dataset did not measure is zero there. `"intersection"`: genes of all. Or the genes of a
        model.
    layer
        The matrix of each to use: the name of a layer, `"X"` or `"raw"`; by default counts are detected.
    key_added
        Prefix of the result keys.

    Returns
    -------
    A new AnnData. `obs` has all columns of all datasets and `{key_added}_source`, the dataset of each cell. Columns keep their types:
    categories are those of all datasets, in order, and ordered where all datasets have the same order; where a dataset lacks a column of
    booleans or integers, it becomes nullable.
    `varm["{key_added}_measured"]` says which dataset measured which gene.

    Raises
    ------
    SettingError
        If there is no dataset, or `features` is invalid.
    GeneOverlapError
        If genes are in the rows of a dataset, or if datasets are of different species, or have no gene in common.
    InputValueError
        If some hold counts and others do not, or one holds neither counts nor values convertible to counts.
    KeyNotFoundError
        If one has no such layer.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sctab
    >>> from anndata import AnnData
    >>> one = AnnData(np.array([[1.0, 3.0]]), var=pd.DataFrame(index=["CD3D", "LYZ"]))
    >>> two = AnnData(np.array([[2.0, 5.0]]), var=pd.DataFrame(index=["LYZ", "NKG7"]))
    >>> merged = sctab.pp.merge({"one": one, "two": two})
    >>> merged.to_df().astype(int).to_dict("list")
    {'CD3D': [1, 0], 'LYZ': [3, 2], 'NKG7': [0, 5]}
    """
    if not isinstance(adatas, Mapping | Sequence):
        raise InputTypeError(f"Several AnnData are needed, in a list or by name, and this is a {type(adatas).__name__}.")
    named = dict(adatas) if isinstance(adatas, Mapping) else {str(number): adata for number, adata in enumerate(adatas)}
    if not named:
        raise SettingError("There is no dataset to merge. Provide at least one.")
    for adata in named.values():
        require_anndata(adata)
    if isinstance(features, str) and features not in {UNION, INTERSECTION}:
        raise SettingError(Parameter("features", features), f" must be `{UNION!r}`, `{INTERSECTION!r}`, or the genes of a model.")
    sources = {name: choose_source(adata, layer=layer)[0] for name, adata in named.items()}
    for adata in named.values():
        require_cells_in_rows(adata)
    others = [name for name, source in sources.items() if source.content.content is not Content.COUNTS]
    if 0 < len(others) < len(sources):
        raise InputValueError(
            f"Some datasets hold counts and others, {listing(others)}, do not. Name a `layer` with counts, or exclude them."
        )
    genes = join_genes([FeatureSpace.from_var(source.var) for source in sources.values()], features, names=list(named))
    stated = StatedSpecies.join(stated_species(adata, name) for name, adata in named.items())
    for note in stated.notes(genes.features.species, owner="the merged data", fix=CORRECT):
        warn(note)
    blocks = []
    for source in sources.values():
        match = genes.features.match(source.var)
        blocks += [match.align(source.content.to_linear(block)) for block in row_blocks(source.matrix, name=source.name)]
    obs = _concatenated([adata.obs for adata in named.values()])
    source_of_cell = np.repeat(list(named), [adata.n_obs for adata in named.values()])
    if not obs.index.is_unique:
        obs.index = pd.Index([f"{cell}-{name}" for cell, name in zip(obs.index, source_of_cell, strict=True)])
    obs[f"{key_added}_{OBS_SOURCE}"] = pd.Categorical(source_of_cell, categories=list(named))
    var = pd.DataFrame(
        {"ensembl_id": genes.features.ids, "gene_symbol": genes.features.symbols}, index=pd.Index(genes.features.names)
    )
    merged = AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csr"), dtype=np.float32), obs=obs, var=var)
    merged.varm[f"{key_added}_{VARM_MEASURED}"] = pd.DataFrame(genes.is_measured.T, index=var.index, columns=list(named))
    return merged


def _concatenated(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate annotations of cells, and keep the types of their columns, where pandas makes objects of many."""
    index = pd.concat([table[[]] for table in tables]).index
    columns = dict.fromkeys(column for table in tables for column in table.columns)
    return pd.DataFrame({column: _column(column, tables).array for column in columns}, index=index)


def _column(column: str, tables: Sequence[pd.DataFrame]) -> pd.Series:
    """One column of all datasets; missing where a dataset does not have it."""
    dtypes = [table[column].dtype for table in tables if column in table]
    is_everywhere = len(dtypes) == len(tables)
    dtype: Any = None
    if all(isinstance(each, pd.CategoricalDtype) for each in dtypes):
        dtype = _joint_categories(column, dtypes)
    elif len(set(dtypes)) == 1:
        can_be_missing = is_everywhere or dtypes[0].kind not in "biu"
        dtype = dtypes[0] if can_be_missing else pd.Series([], dtype=dtypes[0]).convert_dtypes().dtype
    parts = [table[column] if column in table else pd.Series(np.nan, index=table.index, dtype=dtype or object) for table in tables]
    return pd.concat([part if dtype is None else part.astype(dtype) for part in parts])


def _joint_categories(column: str, dtypes: Sequence[pd.CategoricalDtype]) -> pd.CategoricalDtype:
    """The categories of all datasets, each in the order of its dataset as far as they agree.

    They are ordered where all are and no order is made up: each category and the next one stand in some dataset together.
    """
    orders = [list(dtype.categories) for dtype in dtypes]
    joint: list[Any] = []
    for order in orders:
        position = 0
        for category in order:
            if category in joint:
                position = joint.index(category) + 1
            else:
                joint.insert(position, category)
                position += 1
    ordered = [dtype.ordered for dtype in dtypes]
    is_kept = all(sorted(order, key=joint.index) == order for order in orders) and all(
        any({*pair} <= {*order} for order in orders) for pair in itertools.pairwise(joint)
    )
    if any(ordered) and not (all(ordered) and is_kept):
        warn(
            f"The categories of `obs[{column!r}]` are ordered differently in the datasets. They are not ordered in the merged data."
        )
    return pd.CategoricalDtype(joint, ordered=all(ordered) and is_kept)
