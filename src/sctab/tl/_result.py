"""Results of an annotation under a prefix: in an AnnData, a file, or a table."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data import Query, QueryProteins
from sctab.errors import LabelError, Message, Parameter, SettingError, agreeing, listing
from sctab.inference import (
    FEW_GENES,
    Adaptation,
    BackOff,
    Decision,
    ModelSpec,
    Predictor,
    decide,
    few_genes_note,
    is_sketched,
    library_versions,
)
from sctab.keys import (
    LONGEST_NAME,
    OBS_CONFIDENCE,
    OBS_EXCLUDED,
    OBS_EXPECTED_ENTROPY,
    OBS_IS_UNSEEN,
    OBS_LABEL,
    OBS_LABEL_ID,
    OBS_MUTUAL_INFORMATION,
    OBS_N_LABELS_BELOW,
    OBS_TERM,
    OBS_TERM_ID,
    OBS_UNCERTAINTY,
    OBS_UNSEEN,
    OBSM_LATENT_PREFIX,
    OBSM_PROBABILITIES,
    UNS_EXPECTED,
    is_encodable,
)
from sctab.nn import Precision
from sctab.tl._excluded import ExcludedCells
from sctab.tl._learned import LearnedCells
from sctab.tl._unseen import Reported

_CELLS_TO_COMPARE = 512
_MOST_COLUMNS = 4_000
"""Columns of a frame in an `.h5ad`: their names take 16 bytes each of a header of 64 KiB."""
_RESERVED = frozenset({"", ".", "..", "_index"})


def obs_columns(
    spec: ModelSpec, decision: Decision, key_added: str, backoff: BackOff | None = None, reported: Reported | None = None
) -> dict[str, pd.Categorical | NDArray[np.generic] | None]:
    """Columns of `obs`, `(n_obs,)` each; `None` for those that only an ensemble, a promise or expected labels have."""
    ids = label_ids(spec)
    id_of_label = np.append(ids.get_indexer(pd.Index([term or "" for term in spec.labels.ids])), -1)
    numbers = {
        OBS_CONFIDENCE: decision.confidence,
        OBS_UNCERTAINTY: 1 - decision.confidence,
        OBS_EXPECTED_ENTROPY: decision.expected_entropy,
        OBS_MUTUAL_INFORMATION: decision.mutual_information,
        OBS_EXCLUDED: decision.excluded,
    }
    return {
        f"{key_added}_{OBS_LABEL}": pd.Categorical.from_codes(decision.codes, categories=list(spec.labels.names)),
        f"{key_added}_{OBS_LABEL_ID}": pd.Categorical.from_codes(id_of_label[decision.codes], categories=ids),
        **{f"{key_added}_{name}": decision.column(values) for name, values in numbers.items()},
        **{f"{key_added}_{name}": values for name, values in _term_columns(decision, backoff).items()},
        **{f"{key_added}_{name}": values for name, values in _unseen_columns(decision, reported).items()},
    }


def _unseen_columns(decision: Decision, reported: Reported | None) -> dict[str, NDArray[np.generic] | None]:
    """p-values, and which cells are reported; where only some labels can occur, also cells whose evidence lies outside."""
    columns: dict[str, NDArray[np.generic] | None] = dict.fromkeys((OBS_UNSEEN, OBS_IS_UNSEEN))
    if reported is not None:
        columns |= reported.columns(decision.column(decision.unseen), len(decision.codes))
    if decision.excluded is not None:
        by_p_value = columns[OBS_IS_UNSEEN]
        columns[OBS_IS_UNSEEN] = decision.outside if by_p_value is None else decision.outside | by_p_value.astype(bool)
    return columns


def _term_columns(decision: Decision, backoff: BackOff | None) -> dict[str, pd.Categorical | NDArray[np.int32] | None]:
    """Promised terms, their ids, and the number of labels that they leave open: all, where there is no term."""
    if backoff is None or decision.terms is None:
        return dict.fromkeys((OBS_TERM, OBS_TERM_ID, OBS_N_LABELS_BELOW))
    terms = backoff.terms
    names, ids = pd.Index(dict.fromkeys(terms.names)), pd.Index(sorted({term for term in terms.ids if term is not None}))
    of_name, of_id = (
        np.append(index.get_indexer(pd.Index([value or "" for value in values])), -1)
        for index, values in ((names, terms.names), (ids, terms.ids))
    )
    return {
        OBS_TERM: pd.Categorical.from_codes(of_name[decision.terms], categories=names),
        OBS_TERM_ID: pd.Categorical.from_codes(of_id[decision.terms], categories=ids),
        OBS_N_LABELS_BELOW: np.append(terms.n_below, terms.below.shape[1])[decision.terms].astype(np.int32),
    }


def label_ids(spec: ModelSpec) -> pd.Index:
    """Cell Ontology ids of the labels, each once, in alphabetical order."""
    return pd.Index(sorted({term for term in spec.labels.ids if term is not None}))


def latent_key(key_added: str) -> str:
    """Key of latents in `obsm`."""
    return f"{OBSM_LATENT_PREFIX}{key_added}"


def probabilities_key(key_added: str) -> str:
    """Key of probabilities in `obsm`."""
    return f"{key_added}_{OBSM_PROBABILITIES}"


def probability_columns(spec: ModelSpec) -> list[str] | None:
    """Labels as columns of a frame in `obsm`: a `/` is a `|`, since AnnData cannot be written otherwise.

    `None` where no such frame could be written: with more columns than the header of an HDF5 group has room for, with two labels that
    differ in nothing but that, or with a label that is not a name of an array. Probabilities are then a plain array.
    """
    columns = [name.replace("/", "|") for name in spec.labels.names]
    is_writable = (
        len(columns) <= _MOST_COLUMNS
        and len(set(columns)) == len(columns)
        and not _RESERVED.intersection(columns)
        and all(len(column.encode()) <= LONGEST_NAME for column in columns)
    )
    return columns if is_writable else None


def check_labels(spec: ModelSpec) -> None:
    """Refuse labels that no file can hold, before any work is done.

    Raises
    ------
    LabelError
        If a label has a null byte or half a character in it.
    """
    if wrong := [name for name in spec.labels.names if "\0" in name or not is_encodable(name)]:
        raise LabelError(
            f"The labels {listing(map(repr, wrong))} of the model cannot be written to a file. Train it with other names for these types."
        )


def check_hierarchy(hierarchy: object, accepted_error: float | None) -> None:
    """Refuse a hierarchy of labels that nothing would use.

    Raises
    ------
    SettingError
        If there is no accepted error.
    """
    if hierarchy is not None and accepted_error is None:
        raise SettingError(
            Parameter("label_hierarchy"), " is used for promised terms. Provide ", Parameter("accepted_error"), ", too."
        )


def notes_of(
    query: Query,
    n_unknown: int,
    backoff: BackOff | None = None,
    reported: Reported | None = None,
    excluded: ExcludedCells | None = None,
) -> list[str]:
    """Notes on an annotation."""
    notes = [*query.notes, *([] if backoff is None else filter(None, (backoff.note, backoff.withdrawn)))]
    notes += [] if reported is None else reported.notes
    notes += [] if excluded is None else excluded.notes
    if n_unknown:
        notes.append(
            f"{n_unknown:,} {agreeing(n_unknown, 'cell has', 'cells have')} no count in the model's genes and "
            f"{agreeing(n_unknown, 'gets', 'get')} no label."
        )
    return notes


def adaptation_notes(predictor: Predictor, query: Query, adaptation: Adaptation | None) -> list[str]:
    """Note on a refit, or on few genes where none is possible."""
    if adaptation is not None:
        return [adaptation.note]
    is_few = query.match.coverage < FEW_GENES and not is_sketched(predictor.arrays)
    return [few_genes_note()] if is_few else []


def precision_notes(predictor: Predictor, query: Query, precision: Precision) -> list[str]:
    """Note on the difference from full precision for the first cells, if a lower precision was requested."""
    if precision == "float32":
        return []
    n_obs = min(query.n_obs, _CELLS_TO_COMPARE)
    (block,) = query.read([(0, n_obs)])
    rough, exact = (
        decide(
            predictor.block_predictor(precision=choice).predict_rows(query.recipe, block, slice(0, n_obs)),
            predictor.spec.calibration,
        )
        for choice in (precision, "float32")
    )
    n_different = int((rough.codes != exact.codes).sum())
    difference = np.nanmax(np.abs(rough.column(rough.probabilities) - exact.column(exact.probabilities)), initial=0)
    return [
        Message(
            "With ",
            Parameter("precision", precision),
            f", probabilities of the first {n_obs} cells differ by at most {difference:.2g} from those of `float32`, and {n_different} "
            "labels differ.",
        )
    ]


def count_terms(decision: Decision, backoff: BackOff | None) -> dict[str, int]:
    """Number of cells whose term is their label, whose term is broader, and with a count but no term; empty without a promise."""
    if backoff is None or decision.terms is None:
        return {}
    has_term, is_label = decision.terms >= 0, decision.terms == decision.codes  # the labels are the first terms
    return {
        "n_label": int((has_term & is_label).sum()),
        "n_broader": int((has_term & ~is_label).sum()),
        "n_open": int((~has_term & (decision.codes >= 0)).sum()),
    }


def describe_run(
    predictor: Predictor,
    query: Query,
    notes: Sequence[str],
    precision: str,
    backend: str = "torch",
    backoff: BackOff | None = None,
    reported: Reported | None = None,
    n_terms: Mapping[str, int] | None = None,
    excluded: ExcludedCells | None = None,
    learned: LearnedCells | None = None,
    adaptation: Adaptation | None = None,
) -> Mapping[str, Any]:
    """Everything about the annotation, for `uns`."""
    spec = predictor.spec
    return {
        "model": {
            "name": predictor.name,
            "class": spec.model_class,
            "n_members": len(predictor.networks),
            "sha256": predictor.sha256 or "",
            "ontology_version": spec.labels.ontology_version,
            "precision": precision,
            "backend": backend,
        },
        "labels": {"names": np.array(spec.labels.names), "ids": np.array([term or "" for term in spec.labels.ids])},
        "matrix": query.source.name,
        "matrix_content": str(query.source.content.content),
        "genes": {
            "n_matched": query.match.n_matched,
            "n_model": len(spec.features),
            "coverage": query.match.coverage,
            "sources": list(query.match.sources),
            "id_type": query.match.id_type,
        },
        **({} if query.proteins is None else {"proteins": _of_proteins(query.proteins)}),
        **_with_labels_below(promised(spec, backoff), backoff, n_terms or {}),
        **({} if reported is None else {"unseen": reported.to_uns()}),
        **({} if excluded is None else {UNS_EXPECTED: excluded.to_uns(spec.labels)}),
        **({} if learned is None else {"learned": learned.to_uns()}),
        **({} if adaptation is None else {"adapted": adaptation.to_uns()}),
        "warnings": [str(note) for note in notes],
        "versions": {**library_versions(), **({"jax": importlib.metadata.version("jax")} if backend == "jax" else {})},
    }


def _of_proteins(proteins: QueryProteins) -> dict[str, Any]:
    """Antibodies of the model that the query has, and how each was matched."""
    table = proteins.table()
    return {
        "measured": proteins.measured,
        "n_matched": int((table["feature"] != "").sum()),
        "n_model": len(table),
        "antibodies": {name: table[name].to_numpy() for name in ("antibody", "feature", "rule")},
    }


def _with_labels_below(found: Mapping[str, Any], backoff: BackOff | None, n_terms: Mapping[str, int]) -> Mapping[str, Any]:
    """A promise with what is needed to score its terms, and how many cells have which."""
    if backoff is None:
        return found
    ids = np.array([term or "" for term in backoff.terms.ids])
    return {**found, "promise": {**found["promise"], "term_ids": ids, "labels_below": backoff.terms.below, **n_terms}}


def promised(spec: ModelSpec, backoff: BackOff | None) -> dict[str, Any]:
    """Calibration of the model, and the promise that its terms carry, unless it is withdrawn."""
    found: dict[str, Any] = {}
    if spec.calibration is not None:
        values = spec.calibration.to_json().items()
        found["calibration"] = {name: value for name, value in values if value is not None and name != "reduced"}
    if backoff is not None:
        found["promise"] = {
            "accepted_error": backoff.accepted_error,
            "is_kept": not backoff.withdrawn,
            "unit": backoff.unit,
            "n_units": backoff.n_units,
            "terms": list(backoff.terms.names),
        }
    return found
