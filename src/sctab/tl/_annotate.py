"""Name the cell types of a dataset, and say how sure that is."""

from __future__ import annotations

from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab._constants import (
    DEFAULT_KEY_ADDED,
    DEFAULT_MODEL,
    OBS_CONFIDENCE,
    OBS_EXPECTED_ENTROPY,
    OBS_LABEL,
    OBS_LABEL_ID,
    OBS_MUTUAL_INFORMATION,
    OBS_UNCERTAINTY,
    OBSM_LATENT_PREFIX,
    OBSM_PROBABILITIES,
)
from sctab._errors import warn
from sctab.model import AutoClassifier, CellTypeClassifier, DeepEnsemble
from sctab.model._spec import library_versions
from sctab.zoo import load


def annotate(
    adata: AnnData,
    model: str | PathLike[str] | CellTypeClassifier | DeepEnsemble | AutoClassifier = DEFAULT_MODEL,
    *,
    layer: str | None = None,
    batch_size: int = 512,
    min_gene_coverage: float = 0.1,
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
    show_progress: bool = False,
) -> AnnData | None:
    """Name the cell type of every cell, and say how sure that is.

    Genes are matched by name: Ensembl ids or symbols, in the index or in a column of `adata.var`, in any order. Counts are looked for in
    `X`, `raw.X` and the layers; values that are normalised or log1p are brought back to their scale. Scaled values are refused.

    Parameters
    ----------
    adata
        Cells to annotate, `(n_obs, n_query_vars)`; in memory, backed or on Dask.
    model
        Name of a packaged model (see :func:`sctab.zoo.list_models`), a directory of a model or of an ensemble, or a model or an ensemble.
    layer
        Layer to use, or `"X"` or `"raw"`; by default the first that holds counts.
    batch_size
        Cells evaluated at a time.
    min_gene_coverage
        Share of what the model looks at that the genes of the data must carry; below it the data is refused. A panel of a few hundred
        well-chosen genes passes; another species does not.
    key_added
        Prefix of what is written.
    copy
        Annotate and give back a copy.
    show_progress
        Draw a progress bar on stderr.

    Returns
    -------
    `None`, or with `copy` the annotated copy. Nothing is written unless everything could be. Written are

    `adata.obs['{key_added}_label']` : categorical
        The most probable label; `NaN` for a cell without a count in the model's genes.
    `adata.obs['{key_added}_label_id']` : categorical
        Its Cell Ontology id; `NaN` where the label has none.
    `adata.obs['{key_added}_confidence']` : float
        Its probability, between 0 and 1.
    `adata.obs['{key_added}_uncertainty']` : float
        One minus that, the measure of Fischer et al. (2023).
    `adata.obs['{key_added}_expected_entropy']`, `adata.obs['{key_added}_mutual_information']` : float
        Of an ensemble only, in nats: how unsure its members are on average, and how much they disagree. The sum of the two is the
        entropy of the mean probabilities.
    `adata.obsm['X_{key_added}']` : array `(n_obs, n_latent)`
        The embedding from which the label is read, those of the members of an ensemble side by side; not of a linear model, which has none.
    `adata.obsm['{key_added}_probabilities']` : frame `(n_obs, n_labels)`
        Probability of every label, labels as columns. A `/` in a label is a `|` there: AnnData cannot be written otherwise.
    `adata.uns['{key_added}']` : dict
        Model and its hash, labels and their ids, matrix that was used, genes that were found, warnings, versions.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        When the model is not there or cannot be trusted.
    KeyNotFoundError
        When there is no such layer.
    InputValueError
        When no matrix holds counts or what can be brought back to them.
    GeneOverlapError
        When the data is of another species or has too few of the genes.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> list(adata.obs.columns[-4:])
    ['sctab_label', 'sctab_label_id', 'sctab_confidence', 'sctab_uncertainty']
    """
    classifier = load(model)
    query = classifier.open_query(adata, layer=layer, min_gene_coverage=min_gene_coverage)
    evaluation = classifier.evaluate(query, batch_size=batch_size, show_progress=show_progress)
    notes = list(query.notes)
    unknown = np.isnan(evaluation.probabilities).any(axis=1)
    if unknown.any():
        notes.append(f"{int(unknown.sum())} cells have no count in the model's genes and get no label.")

    target = adata.copy() if copy else adata
    spec = classifier.spec
    names = list(spec.labels.names)
    confidence = evaluation.probabilities.max(axis=1)
    best = np.where(unknown, -1, np.nan_to_num(evaluation.probabilities).argmax(axis=1))
    ids = pd.Index(sorted({term for term in spec.labels.ids if term is not None}))
    id_codes = np.append(ids.get_indexer(pd.Index([term or "" for term in spec.labels.ids])), -1)[best]

    target.obs[f"{key_added}_{OBS_LABEL}"] = pd.Categorical.from_codes(best, categories=names)
    target.obs[f"{key_added}_{OBS_LABEL_ID}"] = pd.Categorical.from_codes(id_codes, categories=ids)
    target.obs[f"{key_added}_{OBS_CONFIDENCE}"] = confidence
    target.obs[f"{key_added}_{OBS_UNCERTAINTY}"] = 1 - confidence
    for slot, name, values in (
        (target.obs, f"{key_added}_{OBS_EXPECTED_ENTROPY}", evaluation.expected_entropy),
        (target.obs, f"{key_added}_{OBS_MUTUAL_INFORMATION}", evaluation.mutual_information),
        (target.obsm, f"{OBSM_LATENT_PREFIX}{key_added}", evaluation.latent),
    ):
        if values is not None:
            slot[name] = values
        elif key_added in target.uns and name in slot:
            del slot[name]  # of another model, under the same key
    target.obsm[f"{key_added}_{OBSM_PROBABILITIES}"] = pd.DataFrame(
        evaluation.probabilities, index=adata.obs_names, columns=[name.replace("/", "|") for name in names]
    )
    target.uns[key_added] = {
        "model": _describe(classifier),
        "labels": {"names": np.array(names), "ids": np.array([term or "" for term in spec.labels.ids])},
        "matrix": query.source.name,
        "matrix_content": str(query.source.content.content),
        "genes": {
            "n_matched": query.match.n_matched,
            "n_model": len(spec.features),
            "coverage": query.match.coverage,
            "sources": list(query.match.sources),
            "id_type": query.match.id_type,
        },
        "warnings": notes,
        "versions": library_versions(),
    }
    for note in notes:
        warn(note)
    return target if copy else None


def _describe(classifier: CellTypeClassifier | DeepEnsemble) -> dict[str, str | int]:
    return {
        "name": classifier.name,
        "class": classifier.spec.model_class,
        "n_members": classifier.n_members if isinstance(classifier, DeepEnsemble) else 1,
        "sha256": classifier.sha256 or "",
        "ontology_version": classifier.spec.labels.ontology_version,
    }
