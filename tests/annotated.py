"""Cells as `tl.annotate` leaves them, whose numbers are known."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.ontology import CellOntology

ONTOLOGY = CellOntology.embedded()
NAMES = ("B cell", "CD14-positive monocyte", "CD4-positive, alpha-beta T cell", "natural killer cell")
SIZES = (5, 3, 10, 2)


def annotated(names=NAMES, sizes=SIZES, *, n_without=0, unseen=True, terms=True, key="sctab", seed=0):
    """Cells of each name, in order, then cells without a label: confidence, terms, p-values, donors, authors' labels and a UMAP.

    Names that the ontology does not know have no id. Every second cell is of donor `a`. Confidence falls from 0.9 to 0.3 within a type.
    """
    rng = np.random.default_rng(seed)
    codes = np.repeat([*range(len(names)), -1], [*sizes, n_without])
    n_obs = len(codes)
    index = [f"cell_{number}" for number in range(n_obs)]
    label = pd.Categorical.from_codes(codes, categories=list(names))
    obs = pd.DataFrame({f"{key}_label": label}, index=index)
    confidence = np.concatenate([np.linspace(0.9, 0.3, size) for size in (*sizes, n_without)])
    obs[f"{key}_confidence"] = np.where(codes < 0, np.nan, confidence).astype(np.float32)
    if terms:
        found = np.where(confidence > 0.4, np.asarray(label.astype(object)), None)
        obs[f"{key}_term"] = pd.Categorical(np.where(codes < 0, None, found), categories=list(names))
        obs[f"{key}_n_labels_below"] = np.where(pd.isna(obs[f"{key}_term"]), len(names), 1).astype(np.int32)
    if unseen:
        obs[f"{key}_unseen"] = np.where(codes < 0, np.nan, confidence).astype(np.float32)
        obs[f"{key}_is_unseen"] = (confidence < 0.31) & (codes >= 0)
    obs["donor"] = pd.Categorical(np.where(np.arange(n_obs) % 2, "b", "a"))
    obs["authors"] = label.rename_categories({name: name.upper() if number == 0 else name for number, name in enumerate(names)})
    adata = AnnData(np.zeros((n_obs, 3), dtype=np.float32), obs=obs)
    middles = rng.normal(size=(len(names) + 1, 2)) * 8
    adata.obsm["X_umap"] = middles[codes] + rng.normal(size=(n_obs, 2))
    adata.obsm[f"X_{key}"] = np.hstack([adata.obsm["X_umap"], rng.normal(size=(n_obs, 3))]).astype(np.float32)
    adata.uns[key] = {
        "model": {
            "name": "pbmc",
            "class": "SCTAB",
            "n_members": 1,
            "sha256": "0" * 64,
            "ontology_version": ONTOLOGY.version,
            "precision": "float32",
        },
        "labels": {"names": np.array(names), "ids": np.array([ONTOLOGY.find(name) or "" for name in names])},
        "matrix": "X",
        "matrix_content": "counts",
        "genes": {"n_matched": 573, "n_model": 6512, "coverage": 0.32, "sources": ["index"], "id_type": "symbol"},
        "warnings": ["573 of 6,512 model genes found (32% of total importance); expect less reliable labels."],
        "versions": {"python": "3.13.0", "sctab": "0.1"},
        **({"unseen": {"fdr": 0.1, "n_cells": n_obs, "n_reported": 1, "largest_p_value": 0.1}} if unseen else {}),
        **(
            {"promise": {"accepted_error": 0.1, "is_kept": True, "unit": "donor", "n_units": 8, "terms": list(names)}}
            if terms
            else {}
        ),
    }
    return adata


def sixty_names(n=60):
    """Names of as many kinds of leukocyte."""
    terms = sorted(ONTOLOGY.descendants("leukocyte"))
    return [ONTOLOGY.name(term) for term in terms[:: len(terms) // n][:n]]
