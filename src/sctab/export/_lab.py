"""Values of the fields that only the laboratory knows, from a mapping or a YAML file, and from columns of `obs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

import pandas as pd

from sctab.errors import Message, Parameter, SettingError, did_you_mean, listing
from sctab.export._fields import ORGANISM, SUFFIX, TAXA, Field, Format, fields_of, given_by_schema, is_known
from sctab.io import as_path, declared

type Metadata = Mapping[str, Any] | str | PathLike[str]
"""Values by field, or a YAML file with them."""


@dataclass(frozen=True)
class LabValues:
    """Values of the fields of a format."""

    columns: Mapping[str, pd.Categorical | pd.Series]
    """Columns of `obs`, `(n_obs,)` each."""
    names: Mapping[str, pd.Categorical]
    """Names of the terms in these columns, by the column that a format may have for them."""
    dataset: Mapping[str, str]
    """Entries of `uns`."""
    notes: list[str] = field(default_factory=list)


def read_metadata(given: Metadata | None) -> dict[str, Any]:
    """Read what was given, without a look at the fields.

    Raises
    ------
    DataFileError, SettingError
        If a file cannot be read, or is not a mapping.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return declared.mapping(dict(given), "`metadata`")
    return declared.mapping(declared.read_yaml(as_path(given)), f"`{fspath(given)}`")


def lab_values(obs: pd.DataFrame, given: Mapping[str, Any], *, target: Format, species: str) -> LabValues:
    """Values of all fields of a format, each checked.

    A field that is not given is taken from the column of `obs` with its name. Fields of other formats are left out.

    Parameters
    ----------
    obs
        Annotation of the cells, `(n_obs, …)`.
    given
        Values by field: one value for all cells, or `{"column": …}` with the name of a column of `obs`, and `"values"` with a mapping of
        what is in it to what is written.
    target
        The format.
    species
        Species of the cells.

    Raises
    ------
    SettingError
        If fields are missing, unknown, or have values that the format does not take; all of them are in the message.
    """
    tissue_type = _one_tissue_type(given, obs)
    required, optional = fields_of(target, species, tissue_type)
    fixed = given_by_schema(target, species, tissue_type)
    known = [*required, *optional]
    problems = [
        f"`{name}` is not known.{did_you_mean(name, [each.name for each in known])}" for name in given if not is_known(name)
    ]
    if (problem := _organism_problem(given, species)) is not None:
        problems.append(problem)
    missing: list[str] = []
    columns: dict[str, pd.Categorical | pd.Series] = {}
    names: dict[str, pd.Categorical] = {}
    dataset: dict[str, str] = {}
    notes: list[str] = []
    for each in known:
        if each.name not in given and (each.is_for_all or each.name not in obs):
            if each in required:
                missing.append(_example(each, obs))
            continue
        value = given.get(each.name, {"column": each.name})
        if each.is_for_all:
            text = " ".join(str(value).split())
            if not isinstance(value, str) or not text:
                problems.append(f"`{each.name}` must be text, such as `{each.example}`; it is `{value!r}`.")
            dataset[each.name] = text
            continue
        values, problem = _column(each, value, obs)
        if problem:
            problems.append(problem)
            continue
        columns[each.name] = values[0]
        if each.name.endswith(SUFFIX):
            names[each.in_words] = values[1]
        if each.name not in given:
            notes.append(each.name)
    if problems or missing:
        raise _refusal(target, problems, missing)
    for name, word in fixed.items():
        columns[name] = pd.Categorical([word] * len(obs), categories=[word])
    said = [f"Taken from `obs`: {listing(notes)}."] if notes else []
    return LabValues(columns, names, dataset, said)


def _refusal(target: Format, problems: list[str], missing: list[str]) -> SettingError:
    """One error on all that is missing or wrong."""
    parts: list[str | Parameter] = []
    if missing:
        parts += [
            f"The format `{target}` needs {len(missing)} {'field' if len(missing) == 1 else 'fields'} that only the laboratory knows. "
            "Write the lines below with your values into a YAML file, and provide it with ",
            Parameter("metadata", "lab.yaml"),
            ":\n" + "\n".join(f"  {line}" for line in missing),
        ]
    if problems:
        parts += ["\n" if missing else "", Parameter("metadata"), " has values that the format does not take. ", " ".join(problems)]
    return SettingError(Message(*parts))


def _example(each: Field, obs: pd.DataFrame) -> str:
    """Line of YAML for a field; a column of `obs` that has the names of its terms is named there."""
    if each.name.endswith(SUFFIX) and each.in_words in obs:
        return f"{each.name}: {{column: {each.in_words}}}  # or {each.example}, {each.meaning}"
    return each.line


def _organism_problem(given: Mapping[str, Any], species: str) -> str | None:
    stated = given.get(ORGANISM)
    if stated is None or stated in TAXA[species]:
        return None
    term, name = TAXA[species]
    return f"`{ORGANISM}` is `{stated}`, and the genes are those of {species}, `{term}` ({name})."


def _one_tissue_type(given: Mapping[str, Any], obs: pd.DataFrame) -> str | None:
    value = given.get("tissue_type")
    if value is None and "tissue_type" in obs:
        found = obs["tissue_type"].dropna().unique()
        value = found[0] if len(found) == 1 else None
    return value if isinstance(value, str) else None


def _column(each: Field, value: Any, obs: pd.DataFrame) -> tuple[tuple[Any, Any], str]:
    """Values and names of a field for all cells, and what is wrong; `""` where nothing is."""
    nothing = (None, None)
    if not isinstance(value, Mapping):
        if isinstance(value, list | tuple | set) or value is None:
            return nothing, f"`{each.name}` must be one value or `{{column: …}}`; it is `{value!r}`."
        found, name, problem = each.read(value)
        if problem:
            return nothing, f"`{each.name}`: `{value}` {problem}. Valid is, for example, `{each.example}`."
        return (_repeated(found, len(obs)), _repeated(name, len(obs))), ""
    key, mapped = value.get("column"), value.get("values", {})
    if unknown := [name for name in value if name not in {"column", "values"}]:
        return nothing, f"`{each.name}` has {listing(unknown)}; `column` and `values` are known."
    if key not in obs or not isinstance(mapped, Mapping):
        columns = f"`{key}` is not a column of `obs`.{did_you_mean(key, obs.columns)}"
        return nothing, f"`{each.name}`: {columns if key not in obs else '`values` must be a mapping.'}"
    source = pd.Categorical(obs[key])
    read = [each.read(mapped.get(category, mapped.get(str(category), category))) for category in source.categories]
    used = set(source.codes.tolist())
    wrong = [
        f"`{category}` {problem}"
        for code, (category, (_, _, problem)) in enumerate(zip(source.categories, read, strict=True))
        if problem and code in used
    ]
    if wrong:
        return nothing, f"`{each.name}`, from the column `{key}`: {'; '.join(wrong[:5])}. Valid is, for example, `{each.example}`."
    if -1 in used:
        count = int((source.codes < 0).sum())
        word = " Fill them, for example with `unknown`." if "unknown" in each.words else " Fill them."
        return nothing, f"`{each.name}`: the column `{key}` has no value for {count:,} of {len(obs):,} cells.{word}"
    values = [read[code][0] for code in source.codes]
    if each.is_true_or_false:
        return (pd.Series(values, dtype=bool), None), ""
    return (pd.Categorical(values), pd.Categorical([read[code][1] for code in source.codes])), ""


def _repeated(value: object, n_obs: int) -> pd.Categorical | pd.Series:
    if isinstance(value, bool):
        return pd.Series([value] * n_obs, dtype=bool)
    return pd.Categorical.from_codes([0] * n_obs, categories=[value])
