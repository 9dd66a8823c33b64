"""Labels of groups of cells, such as clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import InputValueError, KeyNotFoundError, Parameter, SettingError, missing_key, place, warn
from sctab.get import read_annotation
from sctab.inference import Hierarchy, Terms, VoteSums
from sctab.keys import (
    DEFAULT_KEY_ADDED,
    OBS_CLUSTERS,
    OBS_TERM,
    OBS_TERM_ID,
    OBSM_PROBABILITIES,
    UNS_VOTE,
    check_key_added,
)
from sctab.ontology import LabelSpace
from sctab.tl._clusters import clusters_of
from sctab.tl._voted import Voted, groups_of

_DEFAULT_GROUPS = ("leiden", "louvain")


def vote(
    adata: AnnData,
    groups: str | None = None,
    *,
    accepted_error: float | None = None,
    label_hierarchy: Hierarchy | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
) -> AnnData | None:
    """Label groups of annotated cells, such as clusters, and say how far their cells agree.

    The label of a group is the one with the largest mean probability over its cells. Probabilities are averaged, and not multiplied, since
    cells of a group are not independent: what misleads the model in one of them misleads it in all.

    Cells that were annotated with `accepted_error` have promised terms. Their group then has one as well: from its label it climbs to the
    term above with the smallest mean probability, until that covers the terms of enough of its cells, see :doc:`/trust`.

    Parameters
    ----------
    adata
        Cells annotated by :func:`annotate`, with their probabilities.
    groups
        Column of `adata.obs` with groups: categories, strings or integers. Cells without one get no vote. By default `leiden`, or else
        `louvain`. Where there is neither, Leiden clusters are built from the graph of neighbours, or from neighbours in the latents of the
        annotation or in `X_pca`, and a warning says so (extra `cluster`).
    accepted_error
        Fraction of cells for which you accept a wrong term of the group. It must be above the accepted error :math:`a` of the cells'
        terms, and the difference is the fraction of a group's cells that its term need not cover. By default :math:`2 a`.
    label_hierarchy
        The one that was given to :func:`annotate`, if any.
    key_added
        Prefix of the annotation, and of the results.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following fields:

    `adata.obs['{key_added}_vote']`, `adata.obs['{key_added}_vote_id']` : categorical
        Label of the cell's group, and its Cell Ontology id; `NaN` for a cell without a group, or if no cell of the group has a label.
    `adata.obs['{key_added}_vote_share']` : float
        Fraction of the group's cells whose own label is that label or a subtype.
    `adata.obs['{key_added}_vote_term']`, `adata.obs['{key_added}_vote_term_id']` : categorical
        If the cells have promised terms: the term of the group, and its id; `NaN` where there is none.
    `adata.obs['{key_added}_clusters']` : categorical
        Clusters, if they were built.
    `adata.uns['{key_added}_vote']` : frame
        A row per group, see :func:`sctab.get.vote`.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, if their probabilities or the column of groups do not exist, or if there is nothing to build
        clusters from.
    InputValueError
        If the column of groups holds fractions, or if the terms of the cells are not those of the annotation.
    SettingError
        If `accepted_error` is given and the cells have no promised terms, if it is not above theirs, or if these are from another
        `label_hierarchy`.
    MissingDependencyError
        If clusters must be built and `igraph` is not installed.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    >>> sctab.tl.vote(adata, "louvain")
    >>> bool(adata.obs.groupby("louvain", observed=True)["sctab_vote"].nunique().eq(1).all())
    True
    """
    check_key_added(key_added)
    require_cells(adata)
    require_writable(adata, copy=copy)
    annotation = read_annotation(adata, key_added, None)
    run, probabilities = adata.uns[key_added], annotation.probabilities
    if probabilities is None:
        raise KeyNotFoundError(
            "Votes need the probabilities of all labels, and ",
            place(f"obsm['{key_added}_{OBSM_PROBABILITIES}']"),
            " no longer exists. Annotate the cells again.",
        )
    labels = LabelSpace(
        names=annotation.names,
        ids=tuple(str(term) or None for term in run["labels"]["ids"]),
        ontology_version=str(run["model"]["ontology_version"]),
    )
    terms = Terms.of(labels, label_hierarchy)
    tolerance = _tolerance(adata, key_added, accepted_error)
    cell_terms = None if tolerance is None else _terms_of_cells(adata, key_added, terms)
    notes = [annotation.note] if annotation.note else []
    if cell_terms is not None and not run["promise"].get("is_kept", True):
        notes.append(
            "The promise of the cells' terms was withdrawn when they were annotated, so terms of groups promise nothing either."
        )
    groups, given, built = _groups(adata, groups, key_added)
    if built:
        notes.append(built)

    sums = VoteSums(len(given.categories), len(labels), 0 if cell_terms is None else len(terms))
    sums.add(given.codes, probabilities, cell_terms)
    voted = Voted.of(sums, labels, terms, given, tolerance)

    target = target_of(adata, copy=copy)
    if built:
        target.obs[groups] = given
    for name, values in voted.columns().items():
        if values is not None:
            target.obs[f"{key_added}_{name}"] = values
        elif f"{key_added}_{UNS_VOTE}" in target.uns and f"{key_added}_{name}" in target.obs:
            del target.obs[f"{key_added}_{name}"]  # of an earlier vote
    target.uns[f"{key_added}_{UNS_VOTE}"] = voted.table()
    for note in notes:
        warn(note)
    return target if copy else None


def _tolerance(adata: AnnData, key_added: str, accepted_error: float | None) -> float | None:
    """Fraction of a group's cells that its term need not cover; `None` where cells have no promised terms."""
    run, column = adata.uns[key_added], f"{key_added}_{OBS_TERM}"
    if "promise" not in run or column not in adata.obs or f"{key_added}_{OBS_TERM_ID}" not in adata.obs:
        if accepted_error is None:
            return None
        raise SettingError(
            Parameter("accepted_error", accepted_error),
            " needs cells with promised terms, and ",
            place(f"obs[{column!r}]"),
            " does not exist. Annotate them with an ",
            Parameter("accepted_error"),
            f" below {accepted_error:g} first.",
        )
    of_cells = float(run["promise"]["accepted_error"])
    if accepted_error is None:
        return of_cells
    if not of_cells < accepted_error < 1:
        raise SettingError(
            Parameter("accepted_error", accepted_error),
            f" must be above {of_cells:g}, that of the terms of the cells, and below 1: terms of groups rest on them, and cells that the "
            "term of a group does not cover can be wrong as well.",
        )
    return accepted_error - of_cells


def _terms_of_cells(adata: AnnData, key_added: str, terms: Terms) -> NDArray[np.int64]:
    """Row of `terms` of each cell, -1 where it has none."""
    if [str(name) for name in adata.uns[key_added]["promise"]["terms"]] != list(terms.names):
        raise SettingError(
            "The terms of the cells are from another hierarchy of labels. Provide the ",
            Parameter("label_hierarchy"),
            " that the cells were annotated with.",
        )
    names, ids = (
        adata.obs[f"{key_added}_{name}"].astype(object).where(adata.obs[f"{key_added}_{name}"].notna(), "").astype(str)
        for name in (OBS_TERM, OBS_TERM_ID)
    )
    known = pd.MultiIndex.from_tuples([*zip(terms.names, (term or "" for term in terms.ids), strict=True)])
    found = known.get_indexer(pd.MultiIndex.from_arrays([names, ids]))
    if len(wrong := names[(found < 0) & (names != "").to_numpy()]):
        raise InputValueError(
            place(f"obs['{key_added}_{OBS_TERM}']"),
            f" holds `{wrong.iloc[0]}`, which is not a term of the annotation. Annotate the cells again.",
        )
    return found.astype(np.int64)


def _groups(adata: AnnData, key: str | None, key_added: str) -> tuple[str, pd.Categorical, str]:
    """The column of groups, its values, and a sentence if they were built."""
    if key is None:
        key = next((name for name in _DEFAULT_GROUPS if name in adata.obs), None)
    if key is None:
        clusters, how = clusters_of(adata, key_added)
        name = f"{key_added}_{OBS_CLUSTERS}"
        built = (
            f"No groups are given, and `obs` has neither `leiden` nor `louvain`. Built {len(clusters.categories)} clusters: {how}."
        )
        return name, clusters, f"{built} They are in `obs[{name!r}]`."
    if key not in adata.obs:
        raise missing_key("groups", key, adata.obs.columns)
    return key, groups_of(adata.obs[key], Parameter("groups", key)), ""
