"""Evaluation results as tables."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from sctab.data import require_cells
from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED, UNS_EVALUATION

_TABLES = ("overall", "types", "groups", "levels", "confusion", "reliability", "abstention", "promise", "unseen")
_NOT_THERE = {
    "groups": "The evaluation is not by groups. Call `sctab.tl.evaluate` with `group_keys`.",
    "promise": "The evaluation is not of promised terms. Annotate the cells with an `accepted_error`, and call `sctab.tl.evaluate` again.",
    "unseen": "The evaluation is not of unseen types. Annotate the cells with an `unseen_fdr`, and call `sctab.tl.evaluate` again.",
}
_OLDER = "The evaluation does not have this table. Call `sctab.tl.evaluate` again."


def evaluation(
    adata: AnnData,
    table: Literal[
        "overall", "types", "groups", "levels", "confusion", "reliability", "abstention", "promise", "unseen"
    ] = "overall",
    *,
    key_added: str = DEFAULT_KEY_ADDED,
) -> pd.DataFrame:
    """Get the agreement of an annotation with known labels as a table.

    Every table but `"levels"`, `"promise"` and `"unseen"` has each row three times and says in the column `level` which is which, the first
    one first: `shared`, at the level of detail that both sides share; `as labelled`, where only the same label is right; and `corrected`,
    where a prediction that is a subtype of the known label was replaced by it, as in Fischer et al. (2023). The column `corrected` says the
    same of the last two, and is missing for the first. What each score means is on the page :doc:`/evaluating`.

    Parameters
    ----------
    adata
        Cells with results of :func:`sctab.tl.evaluate`.
    table
        Which one, see below.
    key_added
        Prefix of the results.

    Returns
    -------
    For `"overall"`, a row per score with columns

    `metric`, `value`
        `accuracy`, `macro_f1`, `weighted_f1`, `cross_entropy`, `brier`, `ece` (calibration) or `auroc` (uncertainty against error);
        those of probabilities are left out where these were not there.
    `low`, `high`
        Ends of its 95 % interval.
    `cells`
        How many cells it is over.

    For `"types"`, a row per type and level with columns `type`, `id`, `cells`, `predicted`, `precision`, `recall`, `f1`.
    `cells` is the number of cells known to have the type. As labelled, `predicted` is the number of cells with that prediction.
    Corrected and at the shared level, a right prediction counts for the known type and not for the predicted one. A type all of
    whose predictions were replaced has no corrected row.

    For `"groups"`, a row per group and level with columns `key`, `group`, `cells`, `accuracy`, `macro_f1`, `weighted_f1`.

    For `"confusion"`, a row per level and pair of labels that occurs, with columns `type`, the known label, `predicted` and `cells`; cells
    without a prediction are predicted as `no label`. :func:`sctab.pl.confusion` plots it.

    For `"levels"`, a row per known type with columns `type`, `id`, `cells`; `compared_as`, the type as which it is compared at the shared
    level; and `level`, which says how it stands to the labels of the model: `the same`, `coarser`, `finer` or `unknown to the model`.

    For `"reliability"`, a row per level and bin of confidence with columns `low` and `high`, its ends; `cells`; and their mean `confidence`
    and `accuracy`, which are `NaN` where there are no cells. :func:`sctab.pl.reliability` plots it.

    For `"abstention"`, a row per level and threshold of confidence, the highest first, with columns `threshold`; `cells`, those with at
    least this confidence; the fraction of all cells that they are, `answered`; and the fraction of them whose label is wrong, `error`.
    :func:`sctab.pl.abstention` plots it.

    For `"promise"`, where cells were annotated with an accepted error, see :doc:`/trust`, a row for all cells and, with donors, for the
    mean over donors; then one per donor and per true type. :func:`sctab.pl.promise` plots it. Columns are

    `over`, `name`, `id`
        `all`, `mean over donors`, `donor` or `type`; which one, and its id.
    `cells`
        How many there are.
    `error`, `low`, `high`
        Fraction of wrong answers, and the ends of its 95 % interval in the first rows. Cells that are left open are not wrong.
    `accepted_error`, `kept`
        The error that was accepted, and whether `error` is at most that; missing for donors and types, of which nothing is promised.
    `leaf`, `open`
        Fractions of cells that are answered with a single label, and that are left open.
    `n_labels_below`
        Mean number of labels that an answer leaves open.

    For `"unseen"`, where unseen types were looked for, see :doc:`/unseen`, a row for all cells of types that the model knows and one for
    those of types that it does not know; then one per true type. :func:`sctab.pl.unseen` plots it. Columns are

    `over`, `name`, `id`
        `known types`, `unknown types` or `type`; which one, and its id.
    `is_known`
        Whether the type is a label of the model, or is above or below one.
    `cells`
        How many there are.
    `lowest`, `low`, `median`, `high`, `highest`
        Quantiles of the p-values of the cells: 5, 25, 50, 75 and 95 %.
    `reported`
        Fraction of the cells that were reported.
    `auroc`
        Of unknown types: area under the ROC curve with which p-values tell their cells from those of known types.

    Raises
    ------
    SettingError
        If there is no such table.
    KeyNotFoundError
        If there is no evaluation under this prefix, or none by groups, of promised terms or of unseen types.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["author"] = adata.obs["bulk_labels"].map({"CD19+ B": "B cell", "CD14+ Monocyte": "monocyte"})
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.evaluate(adata, "author", show=False)
    >>> table = sctab.get.evaluation(adata, "types").query("level == 'shared' and cells > 0")
    >>> table[["type", "id", "cells"]].to_numpy().tolist()
    [['B cell', 'CL:0000236', 95], ['monocyte', 'CL:0000576', 129]]
    """
    require_cells(adata)
    if table not in _TABLES:
        raise SettingError(Parameter("table", table), f" is not known. Choose one of {listing(_TABLES)}.")
    key = f"{key_added}_{UNS_EVALUATION}"
    if key not in adata.uns:
        raise KeyNotFoundError(
            f"`adata.uns[{key!r}]` not found. Call `sctab.tl.evaluate(adata, key_added={key_added!r}, …)` first."
        )
    if table not in adata.uns[key]:
        raise KeyNotFoundError(_NOT_THERE.get(table, _OLDER))
    return adata.uns[key][table].reset_index(drop=True)
