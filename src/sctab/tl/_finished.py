"""Recognise outputs of a finished annotation, so that the same run ends at once when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from sctab.errors import OutputExistsError, Parameter
from sctab.io import TABLE_SUFFIXES, DataFile, run_of_table
from sctab.tl._targets import Target

RUN = "run"
"""Key of the hash of a run in `uns`."""


def run_hash(identity: Mapping[str, Any], key_added: str, min_gene_coverage: float) -> str:
    """Hash of what decides the outputs of an annotation: files, model and settings."""
    values = {**identity, "key_added": key_added, "min_gene_coverage": float(min_gene_coverage)}
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()  # a path need not be Unicode


def are_finished(targets: Sequence[Target], run: str, key_added: str) -> bool:
    """Return whether all outputs exist and were written by the same run.

    Raises
    ------
    OutputExistsError
        If an output exists that was not, or that does not hold from which run it is.
    """
    there = [target for target in targets if target.path.exists()]
    for target in there:
        found = _stored_run(target.path, key_added)
        if found == run:
            continue
        why = "does not say from which annotation it is" if found is None else "is from other files, settings or another model"
        if found is None and target.path.suffix == ".csv":
            why = f"was edited or {why}"
        raise OutputExistsError(
            f"`{target.path}` already exists and {why}, so it is not resumed. Choose another name, or replace it with ",
            Parameter("overwrite", value=True),
            ".",
        )
    if there and len(there) < len(targets):
        raise OutputExistsError(
            f"`{there[0].path}` already exists, but not all outputs. Remove it to resume, or replace it with ",
            Parameter("overwrite", value=True),
            ".",
        )
    return bool(there)


def _stored_run(path: Path, key_added: str) -> str | None:
    try:
        if path.suffix in TABLE_SUFFIXES:
            return run_of_table(path)
        with closing(DataFile(str(path))) as file:
            run = (file.root if path.suffix == ".h5mu" else file.group)["uns"][key_added][RUN][()]
    except (OSError, ValueError, TypeError, AttributeError, LookupError):  # is of something else, or damaged
        return None
    return run.decode("utf-8", "replace") if isinstance(run, bytes) else str(run)
