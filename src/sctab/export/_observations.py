"""`obs` of an exported file: columns of the data, cleaned, beside those of the format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sctab.errors import Either, InputValueError, listing
from sctab.export._fields import Format

_NAMES = ("assay", "cell_type", "development_stage", "disease", "organism", "self_reported_ethnicity", "sex", "tissue")
_OF_PORTAL: dict[Format, tuple[str, ...]] = {
    "cellxgene": (
        *_NAMES,
        *(f"{name}_ontology_term_id" for name in _NAMES),
        *("ethnicity", "ethnicity_ontology_term_id", "observation_joinid", "experimental_condition", "perturbation_types"),
        *("genetic_perturbation_id", "genetic_perturbation_strategy"),
    ),
    "cap": (),
    "table": (),
}
"""Columns that are the portal's: it writes them itself, or they were renamed, or they need more than is exported."""
_AUTHOR = "author"


def build_obs(
    obs: pd.DataFrame, names: Iterable[str], new: Mapping[str, Any], *, target: Format, taken_from_obs: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Join columns of the data and of the format.

    Columns of the data that have the name of one of the format are kept as `author_…`.

    Parameters
    ----------
    obs
        Columns of the data, `(n_obs, …)`.
    names
        Names of the cells.
    new
        Columns of the format.
    target
        The format.
    taken_from_obs
        Columns of the data from which those of the format with the same names were made.

    Raises
    ------
    InputValueError
        If two cells have the same name.
    """
    index = pd.Index([str(name) for name in names], dtype=object)
    if not index.is_unique:
        repeated = index[index.duplicated()].unique()
        raise InputValueError(
            f"{len(repeated):,} names of cells occur more than once: {listing(repeated, most=3)}. Make them unique",
            Either(", for example with `adata.obs_names_make_unique()`,", ", for example with the name of the run in front,"),
            " and annotate again.",
        )
    reserved = {*new, *_OF_PORTAL[target]}
    kept: dict[str, Any] = {}
    renamed, dropped = [], []
    for column in obs.columns:
        name = str(column)
        if name in taken_from_obs:
            continue
        if name.startswith("__") or name in {"_index", "index"} or "/" in name:
            dropped.append(name)
            continue
        if name in reserved:
            name = _free(f"{_AUTHOR}_{name}", {*obs.columns, *kept, *reserved})
            renamed.append(f"{column} → {name}")
        kept[name] = _cleaned(obs[column])
    columns = {name: np.asarray(values) if isinstance(values, pd.Series) else values for name, values in (kept | dict(new)).items()}
    notes = []
    if renamed:
        notes.append(f"Columns of `obs` with names of the format were renamed: {listing(renamed)}.")
    if dropped:
        notes.append(f"Columns of `obs` with names that cannot be exported were left out: {listing(dropped)}.")
    return pd.DataFrame({name: _array(values) for name, values in columns.items()}, index=index), notes


def _free(name: str, taken: Collection[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _array(values: Any) -> Any:
    return values if isinstance(values, pd.Categorical) else np.asarray(values)


def _cleaned(values: pd.Series) -> Any:
    """Numbers and true or false as they are, where nothing is missing; anything else as categories that are strings and occur."""
    plain = values.dtype
    if isinstance(plain, np.dtype) and plain.kind in "biuf":
        return values.to_numpy()
    if pd.api.types.is_numeric_dtype(plain) and not pd.api.types.is_bool_dtype(plain):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    found = pd.Categorical(values).remove_unused_categories()
    texts = pd.Index([str(category) for category in found.categories], dtype=object)
    unique = texts.unique()
    positions = np.append(unique.get_indexer(texts), -1)
    return pd.Categorical.from_codes(positions[found.codes], categories=unique)
