"""Scores of promised terms: how often they are wrong, and how specific they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.errors import LabelError, Message, listing, place
from sctab.get import Annotation, annotate_call
from sctab.keys import OBS_N_LABELS_BELOW, OBS_TERM, OBS_TERM_ID
from sctab.metrics import bootstrap_interval
from sctab.ontology import CellOntology
from sctab.tl._comparison import Comparison

ALL, OF_DONORS, DONOR, TYPE = "all", "mean over donors", "donor", "type"
"""Kinds of rows of the table."""


def score_terms(
    adata: AnnData,
    comparison: Comparison,
    annotation: Annotation,
    cells: NDArray[np.bool_],
    *,
    donors: pd.Series | None,
    key_added: str,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame | None, str]:
    """Score the terms that an annotation promised.

    Parameters
    ----------
    adata
        Annotated cells.
    comparison
        Known labels.
    annotation
        Labels of the model, and the ontology.
    cells
        Those that are scored, `(n_obs,)`.
    donors
        Donor of each cell, `(n_obs,)`.
    key_added
        Prefix of the annotation.
    n_bootstrap, rng
        Number of draws for intervals, and their seed.

    Returns
    -------
    The table, see :func:`sctab.get.evaluation`; `None` for an annotation without terms. And a note where there are terms that cannot be
    scored; `""` otherwise.

    Raises
    ------
    LabelError
        If a term is not one of those that the annotation could report.
    """
    columns = [f"{key_added}_{name}" for name in (OBS_TERM, OBS_TERM_ID, OBS_N_LABELS_BELOW)]
    if columns[0] not in adata.obs:
        return None, ""
    promise = adata.uns[key_added].get("promise", {})
    if "labels_below" not in promise or not set(columns) <= set(adata.obs):
        return None, Message(
            "The terms in ",
            place(f"obs[{columns[0]!r}]"),
            f" are not scored, because what the annotation wrote beside them no longer exists. Run {annotate_call(key_added)} with an "
            "accepted error again.",
        )
    below = np.asarray(promise["labels_below"], dtype=bool)
    ids = [str(term) for term in promise["term_ids"]]
    answers = adata.obs.loc[cells, columns].set_axis(["name", "id", "n_below"], axis=1)
    nodes = _nodes(answers, list(map(str, promise["terms"])), ids, below, columns[0])
    accepts = accepted_terms(comparison, list(map(str, promise["terms"])), ids, below, annotation.ontology)
    truth = comparison.truth[cells]
    of_cells = pd.DataFrame(
        {
            "error": (nodes >= 0) & ~accepts[nodes, truth],
            "leaf": (nodes >= 0) & (answers["n_below"] == 1).to_numpy(),
            "open": nodes < 0,
            "n_labels_below": answers["n_below"].to_numpy(),
        }
    ).astype(float)
    table = pd.DataFrame(_rows(of_cells, comparison, truth, None if donors is None else donors[cells].astype(str).to_numpy()))
    low, high = _interval(of_cells["error"].to_numpy(), donors if donors is None else donors[cells], n_bootstrap, rng)
    for name, ends in (("low", low), ("high", high)):
        table[name] = np.nan
        table.loc[table["over"].isin([ALL, OF_DONORS]), name] = ends[: 1 if donors is None else 2]
    table["accepted_error"] = float(promise["accepted_error"])
    is_promised = table["over"].isin([ALL, OF_DONORS])  # on average, and not for a donor or a type
    table["kept"] = (table["error"] <= table["accepted_error"]).astype("boolean").where(is_promised)
    first = ["over", "name", "id", "cells", "error", "low", "high", "accepted_error", "kept"]
    return table[[*first, *(column for column in table if column not in first)]], ""


def accepted_terms(
    comparison: Comparison, names: Sequence[str], ids: Sequence[str], below: NDArray[np.bool_], ontology: CellOntology
) -> NDArray[np.bool_]:
    """Matrix of the terms (rows) that are right for a cell of a type (columns), `(n_terms, n_types)`.

    The type is the term or below it, or is a broader one that the term is a kind of, as authors give who looked less closely.

    Parameters
    ----------
    comparison
        Known types; the labels of the model come first.
    names, ids
        Of the terms, the labels of the model first; `""` where there is no id.
    below
        True where the label of the column is below the term of the row, `(n_terms, n_labels)`.
    ontology
        It has the ids.
    """
    n_labels, n_types = below.shape[1], len(comparison.names)
    kinds = comparison.child_matrix.copy()
    kinds[:n_labels, :n_labels] |= below[:n_labels]  # of a hierarchy of the user's own
    node_of = {name: node for node, (name, term) in enumerate(zip(names, ids, strict=True)) if node >= n_labels and not term}
    for code in range(n_labels, n_types):
        if not comparison.ids[code] and comparison.names[code] in node_of:
            kinds[code, :n_labels] |= below[node_of[comparison.names[code]]]
    labels_of = kinds[:, :n_labels]
    accepts = _any(below, kinds[:n_labels])
    accepts[:n_labels] |= labels_of.T
    known = ontology.child_matrix([*(term or None for term in ids[n_labels:]), *(term or None for term in comparison.ids)])
    n_above = len(ids) - n_labels
    is_term = np.array([bool(term) for term in ids[n_labels:]], dtype=bool)
    by_id = known[:n_above, n_above:] | known[n_above:, :n_above].T
    by_set = ~_any(below[n_labels:], ~labels_of.T) | (~_any(~below[n_labels:], labels_of.T) & labels_of.any(axis=1))
    accepts[n_labels:] |= np.where(is_term[:, None], by_id, by_set)
    return accepts


def _nodes(
    answers: pd.DataFrame, names: Sequence[str], ids: Sequence[str], below: NDArray[np.bool_], column: str
) -> NDArray[np.int64]:
    """Term of each cell as a row of `below`; -1 for a cell that was left open."""
    rows: dict[tuple[str, str, int], int] = {}
    for node, key in enumerate(zip(names, ids, below.sum(axis=1).tolist(), strict=True)):
        rows.setdefault(key, node)
    different, codes = np.unique(_numbered(answers), axis=0, return_inverse=True)
    of_name, of_id = (pd.Categorical(answers[name]).categories.astype(str) for name in ("name", "id"))
    found = np.full(len(different), -1, dtype=np.int64)
    unknown: list[str] = []
    for i, (name, term, n_below) in enumerate(different.tolist()):
        if name >= 0:
            found[i] = rows.get((of_name[name], of_id[term] if term >= 0 else "", n_below), -1)
            if found[i] < 0:
                unknown.append(of_name[name])
    if unknown:
        raise LabelError(
            place(f"obs[{column!r}]"),
            f" has terms that differ from those that the annotation reported: {listing(unknown)}. Annotate the cells again.",
        )
    return found[codes.ravel()]


def _numbered(answers: pd.DataFrame) -> NDArray[np.int64]:
    """Codes of name and id, and the number of labels below, `(n_obs, 3)`."""
    codes = [pd.Categorical(answers[name]).codes.astype(np.int64) for name in ("name", "id")]
    return np.stack([*codes, answers["n_below"].to_numpy(dtype=np.int64)], axis=1)


def _rows(
    of_cells: pd.DataFrame, comparison: Comparison, truth: NDArray[np.int64], donors: NDArray[Any] | None
) -> Iterator[dict[str, Any]]:
    yield {"over": ALL, "name": "", "id": "", "cells": len(of_cells), **of_cells.mean()}
    if donors is not None:
        of_donors = of_cells.groupby(donors).mean()
        yield {"over": OF_DONORS, "name": "", "id": "", "cells": len(of_cells), **of_donors.mean()}
        sizes = pd.Series(donors).value_counts()
        for name, means in of_donors.iterrows():
            yield {"over": DONOR, "name": name, "id": "", "cells": int(sizes[name]), **means}
    sizes = pd.Series(truth).value_counts()
    for code, means in of_cells.groupby(truth).mean().iterrows():
        about = {"name": comparison.names[code], "id": comparison.ids[code], "cells": int(sizes[code])}
        yield {"over": TYPE, **about, **means}


def _interval(
    is_wrong: NDArray[np.float64], donors: pd.Series | None, n_bootstrap: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % intervals of the error of all cells, and of its mean over donors, `(2,)` each."""
    of_donor = np.arange(len(is_wrong)) if donors is None else pd.factorize(donors.astype(str))[0]
    sizes = np.bincount(of_donor)
    errors, first = np.bincount(of_donor, is_wrong) / sizes, np.unique(of_donor, return_index=True)[1]

    def score(times: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = times[first]
        return np.array([np.average(errors, weights=drawn * sizes), np.average(errors, weights=drawn)])

    return bootstrap_interval(score, len(is_wrong), donors=donors, n_bootstrap=n_bootstrap, rng=rng)


def _any(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Boolean product: whether something is true in a row on the left and in a column on the right."""
    return left.astype(np.float32) @ right.astype(np.float32) > 0
