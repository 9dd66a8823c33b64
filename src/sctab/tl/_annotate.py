"""Annotation of a dataset with cell types and per-cell confidence."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import warn
from sctab.inference import (
    BATCH_SIZE,
    Adapt,
    Backend,
    Expected,
    HasPredictor,
    Hierarchy,
    adapted,
    check_adapt,
    coverage_to_require,
    predict_cells,
)
from sctab.keys import DEFAULT_KEY_ADDED, DEFAULT_MODEL, check_key_added
from sctab.nn import Precision
from sctab.tl._excluded import ExcludedCells
from sctab.tl._learned import LearnedCells
from sctab.tl._result import (
    adaptation_notes,
    check_hierarchy,
    check_labels,
    count_terms,
    describe_run,
    latent_key,
    notes_of,
    obs_columns,
    precision_notes,
    probabilities_key,
    probability_columns,
)
from sctab.tl._unseen import Reported, check_fdr
from sctab.zoo import load_predictor

if TYPE_CHECKING:
    from mudata import MuData


def annotate(
    adata: AnnData | MuData,
    model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL,
    *,
    layer: str | None = None,
    batch_size: int = BATCH_SIZE,
    min_gene_coverage: float = 0.1,
    accepted_error: float | None = None,
    label_hierarchy: Hierarchy | None = None,
    labels: str | Sequence[str] | None = None,
    unseen_fdr: float | None = None,
    adapt: Adapt = "auto",
    force: bool = False,
    precision: Precision = "float32",
    backend: Backend = "torch",
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
    show_progress: bool = False,
) -> AnnData | MuData | None:
    """Annotate every cell with its type and a confidence score.

    Genes are matched by name: Ensembl ids or symbols, in the index or in a column of `adata.var`, in any order. Counts are detected in `X`,
    `raw.X` and the layers; normalised and log1p values are rescaled. Scaled values are an error.

    Parameters
    ----------
    adata
        Cells to annotate, `(n_obs, n_query_vars)`; in memory, backed or on Dask. With a Dask array and an active `distributed.Client`, its
        workers annotate the cells. Of a MuData, gene expression is used, and surface proteins by models that learned from them; results are
        written into its own `obs`, `obsm` and `uns`, see :doc:`/proteins`. For files larger than memory, see
        :func:`sctab.tl.annotate_files`.
    model
        Name of a packaged model (see :func:`sctab.zoo.list_models`), the directory of a model or an ensemble, or a model or ensemble
        object.
    layer
        Layer to use, or `"X"` or `"raw"`; by default the best match, see :doc:`/how_it_works`.
    batch_size
        Cells per batch.
    min_gene_coverage
        Minimum fraction of total gene importance that the genes of the data must cover. A panel of a few hundred well-chosen genes passes;
        another species does not. It does not apply where `adapt` refits the model to the genes of the data.
    accepted_error
        Fraction of wrong answers that you accept, such as 0.1. Each cell then also gets the most specific term of the Cell Ontology for
        which that can be promised, see :doc:`/trust`. It needs a model that was calibrated on held-out cells.
    label_hierarchy
        Terms above the labels to use instead of the ontology's: the parent of each label and of each other parent, as a mapping, a table
        with the columns `child` and `parent`, or a file with such a table; or the labels of each term, as a mapping.
    labels
        Types that can occur, such as `["T cell", "B cell"]`: labels of the model, or names or ids of the Cell Ontology, with all their
        subtypes. By default all labels can. Probabilities are restricted to them and renormalised; a cell more than half of whose
        probability is excluded gets no label and counts as unseen, see :doc:`/expected`.
    unseen_fdr
        Accepted false discovery rate, such as 0.1, to look for cells that no label fits: of the cells that are reported, at most this
        fraction are of types that the model has learned, for cells like those of its reference. See :doc:`/unseen`.
    adapt
        Refit the model, in seconds, to the `"genes"` that the data measures, or to these and to its cells, `"query"`. It needs a model
        that keeps a sketch of its reference, see :doc:`/adapting`. `"auto"` is `"query"` where that is expected to help, and `False` never
        refits.
    force
        Annotate a query most of whose cells no label fits; with `unseen_fdr`, it is refused otherwise.
    precision
        `"float32"`, or `"bfloat16"`, which is faster on processors with native support and changes probabilities slightly, see
        :doc:`/scale`.
    backend
        `"torch"`, or `"jax"`, which evaluates the network on the devices of JAX, such as TPUs (extra `jax`); labels are the same, see
        :doc:`/jax`.
    key_added
        Prefix of the result keys.
    copy
        Return an annotated copy, in memory if `adata` is backed.
    show_progress
        Show progress, speed and remaining time on stderr.

    Returns
    -------
    `None`, or the annotated copy with `copy=True`. Results are written only after everything succeeded:

    `adata.obs['{key_added}_label']` : categorical
        The most probable label; `NaN` for a cell without a count in the model's genes, or with the evidence outside of `labels`.
    `adata.obs['{key_added}_label_id']` : categorical
        Its Cell Ontology id; `NaN` if the label has none.
    `adata.obs['{key_added}_confidence']` : float
        Its probability, between 0 and 1.
    `adata.obs['{key_added}_uncertainty']` : float
        One minus that, the measure of Fischer et al. (2023).
    `adata.obs['{key_added}_term']`, `adata.obs['{key_added}_term_id']` : categorical
        With `accepted_error`: the most specific term that can be promised, and its id; `NaN` where nothing can be promised of the cell.
    `adata.obs['{key_added}_n_labels_below']` : int
        How many labels the term leaves open: 1 for a label without subtypes, and all of them where there is no term.
    `adata.obs['{key_added}_unseen']` : float
        With `unseen_fdr`: p-value for being of a type that the model has learned; small where no label fits.
    `adata.obs['{key_added}_is_unseen']` : bool
        Whether the cell is reported at this false discovery rate; with `labels`, also if its evidence lies outside of them.
    `adata.obs['{key_added}_excluded']` : float
        With `labels`: probability of the other labels of the model, before they were excluded.
    `adata.obs['{key_added}_expected_entropy']`, `adata.obs['{key_added}_mutual_information']` : float
        For ensembles only, in nats: mean entropy of the members, and their disagreement. The two sum to the entropy of the mean
        probabilities.
    `adata.obsm['X_{key_added}']` : array `(n_obs, n_latent)`
        The embedding before the output layer; for an ensemble, the concatenated embeddings of its members. Linear models have none.
    `adata.obsm['{key_added}_probabilities']` : frame `(n_obs, n_labels)`
        Probability of every label, with labels as columns. A `/` in a label becomes `|`, since AnnData cannot store it. If labels cannot be
        columns of a file (more than 4,000 labels, both `A/B` and `A|B`, an empty label), it is an array with the labels of
        `uns['{key_added}']['labels']['names']` in this order; :func:`sctab.get.probabilities` reads both.
    `adata.uns['{key_added}']` : dict
        Model and its hash, labels and their ids, matrix used, genes found, antibodies found and how, warnings, versions.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model is not found or cannot be trusted.
    InputTypeError
        If `adata` is neither an AnnData nor a MuData; the message says what to pass.
    KeyNotFoundError
        If the layer does not exist.
    InputValueError
        If no matrix holds counts or values convertible to counts; if `adata` is a view of a backed AnnData, which is read-only; or, with
        `unseen_fdr`, if no label fits most of the cells.
    GeneOverlapError
        If the data is from another species or covers too few model genes.
    SettingError, LabelError
        If `key_added` or a label cannot be written to a file, if the model has none of `labels`, or if a setting is unknown.
    MissingDependencyError
        If the backend is not installed.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> list(adata.obs.columns[-4:])
    ['sctab_label', 'sctab_label_id', 'sctab_confidence', 'sctab_uncertainty']
    """
    check_key_added(key_added)
    check_fdr(unseen_fdr)
    check_adapt(adapt)
    check_hierarchy(label_hierarchy, accepted_error)
    require_cells(adata, files="sctab.tl.annotate_files")
    require_writable(adata, copy=copy)
    predictor = load_predictor(model)
    check_labels(predictor.spec)
    backoff = None if accepted_error is None else predictor.promise(accepted_error, label_hierarchy)
    expected = None if labels is None else Expected.of(predictor.spec.labels, labels)
    cells = predictor.cells_of(adata)
    query = predictor.open_query(cells, layer=layer, min_gene_coverage=coverage_to_require(adapt, min_gene_coverage))
    predictor, adaptation = adapted(predictor.suited_to(query), [query], adapt)
    if accepted_error is not None and (query.proteins is not None or adaptation is not None):
        backoff = predictor.promise(accepted_error, label_hierarchy)
    test, note = (None, "") if unseen_fdr is None else predictor.unseen_test(query)
    decision = predict_cells(
        predictor,
        cells,
        query,
        batch_size=batch_size,
        precision=precision,
        backend=backend,
        backoff=backoff,
        unseen=test,
        expected=None if expected is None else expected.allowed,
        show_progress=show_progress,
    )
    if backoff is not None:
        backoff = backoff.check(*decision.compared)
    reported = None if unseen_fdr is None else Reported.of(decision.column(decision.unseen), unseen_fdr, note)
    if reported is not None:
        reported.require_few(predictor, force=force)
    excluded = ExcludedCells.of(expected, decision)
    notes = notes_of(query, int((~decision.measured).sum()), backoff, reported, excluded)
    notes += precision_notes(predictor, query, precision)
    learned = LearnedCells.of(predictor, query)
    notes += [] if learned is None else [learned.note]
    notes += adaptation_notes(predictor, query, adaptation)

    target = target_of(adata, copy=copy)
    for name, values in obs_columns(predictor.spec, decision, key_added, backoff, reported).items():
        _write_result(target, target.obs, name, values, key_added)
    _write_result(target, target.obsm, latent_key(key_added), decision.latent, key_added)
    columns, probabilities = probability_columns(predictor.spec), decision.column(decision.probabilities)
    target.obsm[probabilities_key(key_added)] = (
        probabilities if columns is None else pd.DataFrame(probabilities, index=adata.obs_names, columns=columns)
    )
    target.uns[key_added] = describe_run(
        predictor,
        query,
        notes,
        precision,
        backend,
        backoff,
        reported,
        count_terms(decision, backoff),
        excluded,
        learned,
        adaptation,
    )
    for note in notes:
        warn(note)
    return target if copy else None


def _write_result(target: AnnData | MuData, slot: Any, name: str, values: Any, key_added: str) -> None:
    """Write a result, or take away the one that another model left under the same key."""
    if values is not None:
        slot[name] = values
    elif key_added in target.uns and name in slot:
        del slot[name]
