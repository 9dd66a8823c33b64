"""Reading the files of published models, which nobody has to trust: nothing in them is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import yaml  # type: ignore[import-untyped]
from torch import Tensor

from sctab.data import FeatureSpace
from sctab.errors import DataFileError, InputValueError, ModelFormatError, listing
from sctab.io import as_path, strict_json
from sctab.zoo._untrusted import read_tensors, sha256

_OPTIMISERS = re.compile(r"torch\.optim(\.\w+)+")
"""Modules whose classes published hyperparameters may name: optimisers and schedules."""
_PLAIN = (bool, int, float, str)
HPARAMS = "hparams.yaml"
LARGEST_HPARAMS = 2**16
"""Bytes of an `hparams.yaml`; the published ones are below one thousand."""


@dataclass(frozen=True)
class Checkpoint:
    """Model content of a Lightning checkpoint."""

    weights: Mapping[str, Tensor] = field(repr=False)
    """Its `state_dict`, mapped from the file."""
    hyperparameters: Mapping[str, Any]
    """Plain values."""
    epoch: int | None
    """Counted from 0."""
    sha256: str


def read_checkpoint(path: Path, *, name: str) -> Checkpoint:
    """Read a Lightning checkpoint without running anything that is in it.

    Only tensors and plain values are made of it. A class of `torch.optim` that it names is not looked up: an empty class replaces it.
    Tensors are mapped from the file, so that those that nobody looks at, such as the state of the optimiser, take no memory.

    Parameters
    ----------
    path
        The file.
    name
        What it is called in messages.

    Raises
    ------
    ModelFormatError
        If it is not a checkpoint in the zip format of PyTorch, if it is damaged, or if it names anything else.
    """
    content = read_tensors(path, name=name, stand_ins=_stand_in, provide="a `.ckpt` that Lightning wrote")
    return _checkpoint(content, name, digest=sha256(path))


def read_hyperparameters(content: bytes, *, name: str) -> dict[str, Any]:
    """Hyperparameters from an `hparams.yaml`. Tags for Python objects are not followed: what they name stays text.

    Parameters
    ----------
    content
        Of the file.
    name
        What it is called in messages.

    Raises
    ------
    ModelFormatError
        If it is not valid YAML, or no mapping.
    """
    try:
        values = yaml.load(content, Loader=_PlainLoader)  # noqa: S506 a subclass of the safe loader
    except Exception as error:  # on a value that is not of its tag, such as `!!int ''`, the library raises whatever it runs into
        raise ModelFormatError(f"`{name}` cannot be read as YAML: {error}. Copy it again.") from error
    if not isinstance(values, dict):
        raise ModelFormatError(f"`{name}` holds no hyperparameters: it must be a mapping from names to values.")
    return _plain_values(values)


def read_genes(path: str | PathLike[str]) -> FeatureSpace:
    """The genes of a model, in order, from its `var.parquet`: columns `feature_id` and, if it is there, `feature_name`.

    Raises
    ------
    DataFileError
        If the file is missing or cannot be read.
    ModelFormatError
        If a gene has no name, or is there twice.
    """
    table = _read_table(as_path(path), "feature_id")
    symbols = "feature_name" if "feature_name" in table else None
    columns = ["feature_id"] if symbols is None else ["feature_id", symbols]
    try:
        genes = FeatureSpace.from_var(
            table[columns].reset_index(drop=True).rename(str), gene_id_key="feature_id", gene_symbol_key=symbols
        )
    except InputValueError as error:
        raise ModelFormatError(f"`{path}` has no genes: `feature_id` must hold Ensembl ids.") from error
    if len(genes) != len(table):
        raise ModelFormatError(
            f"`{path}` has {len(table)} rows, but only {len(genes)} different genes: some are there twice or have no id in "
            "`feature_id`. Provide the list of genes that belongs to the checkpoint."
        )
    return genes


def read_labels(path: str | PathLike[str]) -> tuple[str, ...]:
    """The labels of a model, in order, from the column `label` of its `cell_type.parquet`.

    Raises
    ------
    DataFileError
        If the file is missing or cannot be read.
    ModelFormatError
        If a label is missing, or is there twice.
    """
    labels = _read_table(as_path(path), "label")["label"]
    if missing := int((labels.isna() | (labels.astype(str).str.strip() == "")).sum()):
        raise ModelFormatError(
            f"`{path}` has no label in {missing} of {len(labels)} rows. Provide the labels that belong to the checkpoint."
        )
    names = labels.astype(str)
    if names.duplicated().any():
        raise ModelFormatError(
            f"`{path}` has labels twice: {listing(sorted(set(names[names.duplicated()])))}. Provide the labels that belong "
            "to the checkpoint."
        )
    return tuple(names)


def read_small(path: Path) -> bytes:
    """The content of an `hparams.yaml`.

    Raises
    ------
    DataFileError
        If it is missing or cannot be read.
    ModelFormatError
        If it is too large to be one.
    """
    try:
        with strict_json.open_regular(path) as file:
            content = file.read(LARGEST_HPARAMS + 1)
    except OSError as error:
        raise DataFileError(f"`{path}` cannot be read ({error.strerror}). Check the path.") from error
    if len(content) > LARGEST_HPARAMS:
        raise ModelFormatError(f"`{path}` has more than {LARGEST_HPARAMS} bytes: it is not a `{HPARAMS}`.")
    return content


class _PlainLoader(yaml.SafeLoader):
    """Makes plain values only: what a Python tag names becomes its name, and nothing is merged, which can grow without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave `<<` as it is: a key like any other."""


def _python_tag(_loader: _PlainLoader, suffix: str, _node: yaml.Node) -> str:
    return suffix.partition(":")[2] or suffix


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _python_tag)
_PlainLoader.add_constructor("tag:yaml.org,2002:merge", _PlainLoader.construct_yaml_str)


def _checkpoint(content: Any, name: str, *, digest: str) -> Checkpoint:
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(key, str) and isinstance(weights[key], Tensor) for key in weights):
        raise ModelFormatError(f"`{name}` is not a Lightning checkpoint: it has no `state_dict` of tensors.")
    hyperparameters, epoch = content.get("hyper_parameters"), content.get("epoch")
    return Checkpoint(
        weights=weights,
        hyperparameters=_plain_values(hyperparameters) if isinstance(hyperparameters, dict) else {},
        epoch=epoch if isinstance(epoch, int) else None,
        sha256=digest,
    )


def _plain_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Numbers, strings and mappings of these, and classes by their names; whatever else there is is left out."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, type):
            plain[str(key)] = f"{value.__module__}.{value.__qualname__}"
        elif isinstance(value, dict):
            plain[str(key)] = {str(inner): value[inner] for inner in value if isinstance(value[inner], _PLAIN)}
        elif isinstance(value, _PLAIN):
            plain[str(key)] = value
    return plain


def _stand_in(name: str) -> type | None:
    """An empty class for one of `torch.optim`: it has nothing to call, and nothing can be put into it."""
    module, _, last = name.rpartition(".")
    return type(last, (), {"__module__": module, "__slots__": ()}) if _OPTIMISERS.fullmatch(name) else None


def _read_table(path: Path, column: str) -> pd.DataFrame:
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "not found"
        raise DataFileError(f"`{path}` {what}. Check the path.")
    if path.suffix not in {".parquet", ".csv", ".tsv"}:
        raise DataFileError(f"`{path}` is neither `.parquet` nor `.csv` nor `.tsv`. Provide one of these.")
    try:
        table = (
            pd.read_parquet(path, engine="pyarrow")
            if path.suffix == ".parquet"
            else pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
        )
    except Exception as error:  # parsers raise many kinds of errors on a damaged file
        raise DataFileError(f"`{path}` cannot be read as {path.suffix}: {error}. Copy it again.") from error
    if column not in table:
        raise DataFileError(f"`{path}` has no column `{column}`. Available: {listing(table.columns)}. Is it the right file?")
    return table
