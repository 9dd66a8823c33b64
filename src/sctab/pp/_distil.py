"""Distillation of a reference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Source, choose_source, require_anndata, require_writable, target_of
from sctab.errors import LabelError, Parameter, SctabWarning, SettingError, listing
from sctab.inference import Predictor, predict_cells
from sctab.io import row_blocks
from sctab.keys import DEFAULT_KEY_ADDED, OBS_DISTILLED, check_key_added
from sctab.model import model_by_name, new_model
from sctab.pp._cells import CORESETS, labels_and_donors, mask, open_source
from sctab.pp._sketch import components_of
from sctab.sampling import Split, split_cells
from sctab.train import MemoryReference, corrected_macro_f1

_TRAIN_SIZE = 0.8
"""Fraction of the cells that :func:`distil` learns from and chooses from; the others tell how much is lost."""


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
    """Choose the fewest cells from which a classifier learns as much as from all cells.

    A fifth of the cells is held out, whole donors where there are enough. A model learns the others; from these, more and more cells are
    taken, equally many of each type as far as they go, and a model learns only those, until its macro F1 on the held-out cells is as high
    as that of the first one, up to `tolerance`. Each score is from one training: differences of a few thousandths are not meaningful.

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
        Fractions of the cells to try, in ascending order.
    tolerance
        How much macro F1 may be lost.
    model_settings, train_settings
        Keyword arguments of the constructor and of `train` of the model class; what is left out follows from the number of cells.
    key_added
        Prefix of the result keys.
    seed
        Decides what is held out, and of the trainings what they draw at random.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following fields:

    `adata.obs['{key_added}_distilled']` : bool
        Whether the cell belongs to the distilled reference. Where no fraction was enough these are all that were learned from.
    `adata.uns['{key_added}_distilled']` : dict
        How they were chosen; under `measured` a frame with the columns `fraction`, `n_cells` and `macro_f1`, the last row being all cells.

    Raises
    ------
    KeyNotFoundError
        If a column or layer does not exist.
    LabelError
        If cells with a label have no donor, if there are not two types, or if there are too few cells to hold some out.
    InputValueError
        If no matrix holds counts or values convertible to counts.
    SettingError
        If a setting is invalid.

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
    if method not in CORESETS:
        raise SettingError(Parameter("method", method), f" is not known. Choose one of {listing(CORESETS)}.")
    if not fractions or not all(0 < fraction < 1 for fraction in fractions) or list(fractions) != sorted(set(fractions)):
        raise SettingError(Parameter("fractions", list(fractions)), " must lie between 0 and 1, in ascending order.")
    model_class = model_by_name(model)
    labels, donors = labels_and_donors(adata, labels_key, donor_key)
    held_out = _hold_out(labels, donors, labels_key, seed)
    source = open_source(adata, layer)
    everything = held_out.train
    linear = AnnData(X=_linear_values(source), obs=adata.obs, var=source.var)
    reference = MemoryReference.of(linear[everything].copy(), labels_key, donor_key=donor_key)
    query = linear[held_out.validation].copy()

    def learn(part: MemoryReference) -> tuple[Predictor, float]:
        classifier = new_model(part, model_class, model_settings or {})
        classifier.train(**{"seed": seed, "enable_progress_bar": False, "calibrate": False} | dict(train_settings or {}))
        predictor = classifier.predictor
        predicted = predict_cells(predictor, query, predictor.open_query(query)).labels(list(predictor.spec.labels.names))
        return predictor, corrected_macro_f1(query.obs[labels_key], predicted, predictor.spec.labels)

    predictor, best = learn(reference)
    latent = _latent(predictor, reference.adata, seed)
    kept, measured = everything, []
    for fraction in fractions:
        n = max(round(fraction * len(everything)), len(np.unique(labels[everything])))
        chosen = CORESETS[method](latent, labels[everything], n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SctabWarning)  # what there is to say of the labels was said when all cells were learned
            _, score = learn(reference.part(chosen))
        measured.append((fraction, n, score))
        if score >= best - tolerance:
            kept = everything[chosen]
            break
    measured.append((1.0, len(everything), best))

    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_DISTILLED}"] = mask(kept, adata.n_obs)
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


def _hold_out(labels: NDArray[np.int64], donors: NDArray[np.int64] | None, labels_key: str, seed: int) -> Split:
    """Cells to learn from and cells to score on: whole donors where there are enough, else a fraction of each type."""
    rng = np.random.default_rng(seed)
    found = split_cells(labels, donors, train_size=_TRAIN_SIZE, by="stratified" if donors is None else "donor", rng=rng)
    if found.by == "none":
        raise LabelError(f"`adata.obs[{labels_key!r}]` has too few cells of each type to hold some out. Use a larger reference.")
    return found


def _linear_values(source: Source) -> sparse.csr_matrix:
    """A matrix in memory, on the scale of counts, so that parts of it are read as the whole was."""
    return sparse.vstack([source.content.to_linear(block) for block in row_blocks(source.matrix, name=source.name)], format="csr")


def _latent(predictor: Predictor, adata: AnnData, seed: int) -> NDArray[np.floating]:
    """Latent of cells in a classifier, or where it has none, their principal components."""
    latent = predict_cells(predictor, adata, predictor.open_query(adata)).latent
    return components_of(choose_source(adata)[0], seed) if latent is None else latent
