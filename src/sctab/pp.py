"""Preprocessing: datasets brought together, and which cells to learn from, to validate on, and to keep."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab._key_names import check_key_added
from sctab.data import (
    Normalization,
    Source,
    choose_source,
    gene_expression,
    normalise,
    principal_components,
    require_anndata,
    require_writable,
    target_of,
)
from sctab.errors import KeyNotFoundError, LabelError, SctabWarning, SettingError, listing, warn
from sctab.io import row_blocks
from sctab.keys import DEFAULT_KEY_ADDED, OBS_DISTILLED, OBS_SKETCH, OBS_SPLIT
from sctab.model import AutoClassifier, CellTypeClassifier, corrected_macro_f1, model_by_name, own_copy
from sctab.pp._merge import merge
from sctab.sampling import Split, SplitRule, assign_splits, geometric_sketch, herding, k_centre, nested_share, split_cells
from sctab.sampling import subsample as subsample_types

__all__ = ["distil", "merge", "sketch", "split", "subsample"]

_SIZES = MappingProxyType({"train": 0.7, "validation": 0.15, "test": 0.15})
_N_COMPONENTS = 50
_TRAIN_SIZE = 0.8
"""Share of the cells that :func:`distil` learns from and chooses from; the others tell how much is lost."""
_SKETCHES = ("geosketch", "stratified", "balanced", "k-centre", "herding")
_CORESETS = {"k-centre": k_centre, "herding": herding}


def split(
    adata: AnnData,
    labels_key: str,
    *,
    donor_key: str | None = None,
    sizes: Mapping[str, float] = _SIZES,
    by: SplitRule | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Share the cells out among training, validation and test.

    Parameters
    ----------
    adata
        Annotated cells, `(n_obs, n_vars)`.
    labels_key
        Column of `adata.obs` with cell types. Cells without one (NaN) are in no split.
    donor_key
        Column of `adata.obs` with donors, or with anything else whose cells must stay together.
    sizes
        Name and share of each split; shares sum to one. The first is the one to learn from: it gets cells of every type, unless
        split by donor.
    by
        `"type"` gives each split its share of the cells of every type; `"donor"` its share of the donors, whole and at random; `"both"`
        whole donors such that each split has about its share of every type, see :func:`sctab.sampling.assign_splits`. By default
        both where there is a `donor_key`, else by type. Only whole donors tell how well a model does on people that it has not seen.
    key_added
        Prefix of what is written.
    seed
        Decides which cells or donors are chosen.
    copy
        Write into a copy and give it back.

    Returns
    -------
    `None`, or with `copy` the copy. Written is

    `adata.obs['{key_added}_split']` : categorical
        The name of each cell's split; `NaN` for cells without a label.

    Raises
    ------
    KeyNotFoundError
        When a column is not there.
    LabelError
        When cells with a label have no donor, or when types have too few cells or donors for these splits.
    SettingError
        When the sizes make no sense, when there are fewer donors than splits, or when there is no `donor_key` to split by.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sctab.pp.split(adata, "bulk_labels")
    >>> adata.obs["sctab_split"].value_counts().to_dict()
    {'train': 491, 'validation': 105, 'test': 104}
    """
    check_key_added(key_added)
    require_anndata(adata)
    require_writable(adata, copy=copy)
    labels, donors = _labels_and_donors(adata, labels_key, donor_key)
    splits = assign_splits(
        labels,
        donors,
        sizes=list(sizes.values()),
        by=by or ("type" if donor_key is None else "both"),
        rng=np.random.default_rng(seed),
    )
    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_SPLIT}"] = pd.Categorical.from_codes(splits, categories=list(sizes))
    return target if copy else None


def sketch(
    adata: AnnData,
    size: float,
    *,
    method: Literal["geosketch", "stratified", "balanced", "k-centre", "herding"] = "geosketch",
    labels_key: str | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Choose few cells that stand for many.

    Parameters
    ----------
    adata
        Cells to choose from, `(n_obs, n_vars)`.
    size
        How many: a whole number of cells, or a share of them as a float up to 1.0.
    method
        `"geosketch"` takes cells evenly over the space that they fill, so that rare states are kept (extra `sketch`). `"stratified"`
        draws at random and keeps the proportions of types, `"balanced"` draws equally many of each type. `"k-centre"` takes cells
        such that none is far from one that was taken, `"herding"` such that means stay, both with equally many of each type where
        there is a `labels_key`. The functions are :func:`~sctab.sampling.geometric_sketch`, :func:`~sctab.sampling.subsample`,
        :func:`~sctab.sampling.k_centre` and :func:`~sctab.sampling.herding`.
    labels_key
        Column of `adata.obs` with cell types, which all but geosketch look at. Cells without one (NaN) are not chosen.
    use_rep
        Key of `adata.obsm` in which cells are near or far, such as `"X_sctab"`. By default 50 principal components of log1p of 10,000
        counts per cell.
    layer
        Layer to find the components of, or `"X"` or `"raw"`; by default the matrix that fits best.
    key_added
        Prefix of what is written.
    seed
        Decides what is drawn at random; `"k-centre"` and `"herding"` draw nothing.
    copy
        Write into a copy and give it back.

    Returns
    -------
    `None`, or with `copy` the copy. Written are

    `adata.obs['{key_added}_sketch']` : bool
        Whether the cell was chosen.
    `adata.uns['{key_added}_sketch']` : dict
        How they were chosen.

    Raises
    ------
    KeyNotFoundError
        When a column, a layer or a key of `obsm` is not there.
    SettingError
        When the method is unknown, when it needs labels and has none, or when there are fewer cells than are asked for.
    InputValueError
        When components are needed and no matrix holds counts or what can be brought back to them.
    MissingDependencyError
        When geosketch is not installed.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sctab.pp.sketch(adata, 0.1, use_rep="X_pca")
    >>> int(adata.obs["sctab_sketch"].sum())
    70
    >>> sctab.pp.sketch(adata, 60, method="balanced", labels_key="bulk_labels")
    >>> adata[adata.obs["sctab_sketch"]].obs["bulk_labels"].value_counts().unique().tolist()
    [6]
    """
    check_key_added(key_added)
    require_anndata(adata)
    require_writable(adata, copy=copy)
    if method not in _SKETCHES:
        raise SettingError(f"`method={method!r}` is not known. There is {listing(_SKETCHES)}.")
    if labels_key is None and method in {"stratified", "balanced"}:
        raise SettingError(f"`method={method!r}` needs to know the types. Name the column of `adata.obs` as `labels_key`.")
    if labels_key is not None and method == "geosketch":
        raise SettingError("`method='geosketch'` does not look at types. Leave `labels_key` out, or take another method.")
    labels = np.zeros(adata.n_obs, dtype=np.int64) if labels_key is None else _codes(adata, labels_key, "labels_key")
    n = _number(size, int((labels >= 0).sum()))
    rng = np.random.default_rng(seed)
    space = ""
    if method == "stratified" or method == "balanced":
        chosen = subsample_types(labels, n, how=method, rng=rng)
    else:
        embedding, space = _embedding(adata, use_rep, layer, seed)
        chosen = geometric_sketch(embedding, n, rng=rng) if method == "geosketch" else _CORESETS[method](embedding, labels, n)

    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_SKETCH}"] = _mask(chosen, adata.n_obs)
    target.uns[f"{key_added}_{OBS_SKETCH}"] = {
        "method": method,
        "n_cells": len(chosen),
        "labels_key": labels_key or "",
        "space": space,
        "seed": seed,
    }
    return target if copy else None


def distil(
    adata: AnnData,
    labels_key: str,
    *,
    model: str = "linear",
    donor_key: str | None = None,
    layer: str | None = None,
    method: Literal["k-centre", "herding"] = "herding",
    fractions: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.5),
    tolerance: float = 0.01,
    model_settings: Mapping[str, Any] | None = None,
    train_settings: Mapping[str, Any] | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Choose the fewest cells from which a classifier learns as much as from all.

    A fifth of the cells is held out, whole donors where there are enough. A model learns the others; from these, more and more cells are
    taken, equally many of each type as far as they go, and a model learns only those, until its macro F1 on the held-out cells is as
    high as that of the first one, up to `tolerance`. Each score is from one training: differences of a few thousandths mean nothing.

    Parameters
    ----------
    adata
        Annotated reference, `(n_obs, n_vars)`.
    labels_key
        Column of `adata.obs` with cell types. Cells without one (NaN) are left out.
    model
        Name of a model class, see :func:`sctab.model.model_by_name`.
    donor_key
        Column of `adata.obs` with donors.
    layer
        Layer to learn from, or `"X"` or `"raw"`; by default the matrix that fits best.
    method
        How cells of a type are chosen: :func:`"herding" <sctab.sampling.herding>` keeps the mean of the type,
        :func:`"k-centre" <sctab.sampling.k_centre>` covers its extent. Both work in the latent space of the model that learned all
        cells, or in 50 principal components where its class has none.
    fractions
        Shares of the cells to try, in ascending order.
    tolerance
        How much macro F1 may be lost.
    model_settings, train_settings
        Keyword arguments of the constructor and of `train` of the model class; what is left out follows from the number of cells.
    key_added
        Prefix of what is written.
    seed
        Decides what is held out, and of the trainings what they draw at random.
    copy
        Write into a copy and give it back.

    Returns
    -------
    `None`, or with `copy` the copy. Written are

    `adata.obs['{key_added}_distilled']` : bool
        Whether the cell belongs to the distilled reference. Where no fraction was enough these are all that were learned from.
    `adata.uns['{key_added}_distilled']` : dict
        How they were chosen; under `measured` a frame with the columns `fraction`, `n_cells` and `macro_f1`, the last row being all cells.

    Raises
    ------
    KeyNotFoundError
        When a column or layer is not there.
    LabelError
        When cells with a label have no donor, when there are not two types, or when there are too few cells to hold some out.
    InputValueError
        When no matrix holds counts or what can be brought back to them.
    SettingError
        When a setting makes no sense.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
    ...     sctab.pp.distil(adata, "bulk_labels", fractions=[0.2, 0.5], tolerance=0.05, train_settings={"max_epochs": 10})
    >>> list(adata.uns["sctab_distilled"]["measured"].columns)
    ['fraction', 'n_cells', 'macro_f1']
    """
    check_key_added(key_added)
    require_anndata(adata)
    require_writable(adata, copy=copy)
    if method not in _CORESETS:
        raise SettingError(f"`method={method!r}` is not known. There is {listing(_CORESETS)}.")
    if not fractions or not all(0 < fraction < 1 for fraction in fractions) or list(fractions) != sorted(set(fractions)):
        raise SettingError(f"`fractions={list(fractions)}` must lie between 0 and 1, in ascending order.")
    model_class = model_by_name(model)
    labels, donors = _labels_and_donors(adata, labels_key, donor_key)
    held_out = _hold_out(labels, donors, labels_key, seed)
    source = _open(adata, layer)
    reference = AnnData(X=_linear_values(source), obs=adata.obs, var=source.var)
    query = reference[held_out.validation].copy()

    def learn(cells: NDArray[np.int64]) -> tuple[CellTypeClassifier, float]:
        settings = {"seed": seed, "enable_progress_bar": False} | dict(train_settings or {})
        classifier = _train(model_class, reference[cells].copy(), labels_key, donor_key, model_settings or {}, settings)
        return classifier, corrected_macro_f1(query.obs[labels_key], classifier.predict(query), classifier.spec.labels)

    everything = held_out.train
    classifier, best = learn(everything)
    latent = _latent(classifier, reference[everything], seed)
    kept, measured = everything, []
    for fraction in fractions:
        n = max(round(fraction * len(everything)), len(np.unique(labels[everything])))
        chosen = everything[_CORESETS[method](latent, labels[everything], n)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SctabWarning)  # what there is to say of the labels was said when all cells were learned
            _, score = learn(chosen)
        measured.append((fraction, n, score))
        if score >= best - tolerance:
            kept = chosen
            break
    measured.append((1.0, len(everything), best))

    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_DISTILLED}"] = _mask(kept, adata.n_obs)
    target.uns[f"{key_added}_{OBS_DISTILLED}"] = {
        "method": method,
        "model": model,
        "tolerance": tolerance,
        "n_cells": len(kept),
        "n_held_out": len(held_out.validation),
        "held_out_by": held_out.by,
        "matrix": source.name,
        "measured": pd.DataFrame(measured, columns=["fraction", "n_cells", "macro_f1"]),
        "seed": seed,
    }
    return target if copy else None


def subsample(
    adata: AnnData,
    fraction: float,
    *,
    by: Literal["cell", "donor"] = "cell",
    donor_key: str | None = None,
    seed: int = 0,
) -> AnnData:
    """A random share of the cells or of the donors, such that smaller shares lie in larger ones.

    For the same cells and seed, what is in the 15 % is also in the 30 %, and so on, so that how a model does with more data is not
    mixed up with which data it is.

    Parameters
    ----------
    adata
        Cells to choose from, `(n_obs, n_vars)`; it is not changed.
    fraction
        Share, above 0 and up to 1; of what is no whole number of cells or donors, the next is taken.
    by
        `"cell"` chooses among all cells, `"donor"` whole donors.
    donor_key
        Column of `adata.obs` with donors, to choose by.
    seed
        Decides which cells or donors are chosen.

    Returns
    -------
    A new AnnData in memory, with the chosen cells in their order.

    Raises
    ------
    KeyNotFoundError
        When the column is not there.
    LabelError
        When cells have no donor.
    SettingError
        When the fraction makes no sense, or `by` and `donor_key` do not go together.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> few, more = (sctab.pp.subsample(adata, fraction, seed=1) for fraction in (0.15, 0.3))
    >>> few.n_obs, more.n_obs, few.obs_names.isin(more.obs_names).all()
    (105, 210, np.True_)
    """
    require_anndata(adata)
    if by not in ("cell", "donor"):
        raise SettingError(f"`by={by!r}` must be `'cell'` or `'donor'`.")
    if (by == "donor") != (donor_key is not None):
        raise SettingError("Whole donors are chosen with `by='donor'` and `donor_key=…` together, single cells with neither.")
    units = np.arange(adata.n_obs) if donor_key is None else _codes(adata, donor_key, "donor_key")
    if n_without := int((units < 0).sum()):
        raise LabelError(
            f"`adata.obs[{donor_key!r}]` has no donor (NaN) for {n_without} of {adata.n_obs} cells. Fill them in, or remove those cells."
        )
    return own_copy(adata, nested_share(units, fraction, rng=np.random.default_rng(seed)))


def _codes(adata: AnnData, key: str, parameter: str) -> NDArray[np.int64]:
    """Numbers for the values of a column, in the order of the alphabet; -1 where there is none."""
    if key not in adata.obs:
        raise KeyNotFoundError(f"`{parameter}={key!r}` is not in `adata.obs`. Columns: {listing(adata.obs.columns)}.")
    column = adata.obs[key]
    return pd.factorize(column.astype(str).where(column.notna()), sort=True)[0].astype(np.int64)


def _labels_and_donors(
    adata: AnnData, labels_key: str, donor_key: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Numbers for types and, where there is a `donor_key`, for donors; a cell that has a type must have a donor."""
    labels = _codes(adata, labels_key, "labels_key")
    if donor_key is None:
        return labels, None
    donors = _codes(adata, donor_key, "donor_key")
    if n_without := int(((labels >= 0) & (donors < 0)).sum()):
        raise LabelError(
            f"`adata.obs[{donor_key!r}]` has no donor (NaN) for {n_without} of {int((labels >= 0).sum())} cells with a label. Fill them "
            "in, or leave `donor_key` out."
        )
    return labels, donors


def _hold_out(labels: NDArray[np.int64], donors: NDArray[np.int64] | None, labels_key: str, seed: int) -> Split:
    """Cells to learn from and cells to score on: whole donors where there are enough, else a share of each type."""
    rng = np.random.default_rng(seed)
    found = split_cells(labels, donors, train_size=_TRAIN_SIZE, by="stratified" if donors is None else "donor", rng=rng)
    if found.by == "none":
        raise LabelError(f"`adata.obs[{labels_key!r}]` has too few cells of each type to hold some out. Take a larger reference.")
    return found


def _number(size: float, n_available: int) -> int:
    """How many cells a number or a share is."""
    if isinstance(size, (int, np.integer)):
        return int(size)
    if not 0 < size <= 1:
        raise SettingError(f"`size={size}` must be a share, above 0 and up to 1.0, or a whole number of cells.")
    return max(1, round(size * n_available))


def _mask(chosen: NDArray[np.int64], n_obs: int) -> NDArray[np.bool_]:
    mask = np.zeros(n_obs, dtype=np.bool_)
    mask[chosen] = True
    return mask


def _open(adata: AnnData, layer: str | None) -> Source:
    """The matrix to work on, having said what should be known about it."""
    source, notes = choose_source(adata, layer=layer)
    for note in notes:
        warn(note)
    return source


def _embedding(adata: AnnData, use_rep: str | None, layer: str | None, seed: int) -> tuple[NDArray[np.floating], str]:
    """Where cells lie, `(n_obs, n_components)`, and what space that is."""
    if use_rep is None:
        source = _open(adata, layer)
        return _principal_components(source, seed), f"principal components of {source.name}"
    if use_rep not in adata.obsm:
        raise KeyNotFoundError(f"`use_rep={use_rep!r}` is not in `adata.obsm`. It has: {listing(adata.obsm)}.")
    return np.asarray(adata.obsm[use_rep]), use_rep


def _principal_components(source: Source, seed: int) -> NDArray[np.float32]:
    """Principal components of log1p of 10,000 counts per cell; the matrix is read in blocks and stays sparse."""
    is_gene = gene_expression(source.var)

    def blocks() -> Iterator[sparse.csr_matrix]:
        for block in row_blocks(source.matrix, name=source.name):
            yield normalise(source.content.to_linear(block)[:, is_gene], Normalization())

    n_genes = int(is_gene.sum())
    found = principal_components(blocks, n_genes, min(_N_COMPONENTS, n_genes), rng=np.random.default_rng(seed))
    return np.concatenate([found.project(block) for block in blocks()])


def _linear_values(source: Source) -> sparse.csr_matrix:
    """A matrix in memory, on the scale of counts, so that parts of it are read as the whole was."""
    return sparse.vstack([source.content.to_linear(block) for block in row_blocks(source.matrix, name=source.name)], format="csr")


def _train(
    model_class: type[CellTypeClassifier] | type[AutoClassifier],
    reference: AnnData,
    labels_key: str,
    donor_key: str | None,
    model_settings: Mapping[str, Any],
    train_settings: Mapping[str, Any],
) -> CellTypeClassifier:
    model_class.setup_anndata(reference, labels_key, donor_key=donor_key)
    classifier = model_class(reference, **model_settings)
    classifier.train(**train_settings)
    classifier.deregister_manager(reference)
    return classifier.best if isinstance(classifier, AutoClassifier) else classifier


def _latent(classifier: CellTypeClassifier, adata: AnnData, seed: int) -> NDArray[np.floating]:
    """Where cells lie for a classifier, or where it has no latent space, their principal components."""
    latent = classifier.evaluate(classifier.open_query(adata)).latent
    return _principal_components(choose_source(adata)[0], seed) if latent is None else latent
