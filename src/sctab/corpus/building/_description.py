"""The files that say what a store holds: genes, sources, names, splits and hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.corpus._config import SPLIT_NAMES
from sctab.corpus._entry import COLUMNS
from sctab.corpus._manifest import FORMAT, MANIFEST, VERSION, hash_codes, source_values, write_manifest
from sctab.corpus._plan import CorpusPlan
from sctab.corpus._store import FEATURES, MEASURED
from sctab.corpus.building._shuffle import Placement
from sctab.corpus.building._workplace import fingerprint_of
from sctab.data import MatrixContent
from sctab.io import written_beside
from sctab.ontology import CellOntology


def describe(
    plan: CorpusPlan,
    contents: Mapping[str, tuple[str, MatrixContent]],
    placement: Placement,
    hashes: NDArray[np.uint64],
    store: Path,
    output: Path,
    ontology: CellOntology,
    *,
    run: str,
) -> None:
    labels = plan.cells.label_space(ontology)
    features = plan.genes.features
    other_ids = [list(features.other_ids.get(i, ())) for i in range(len(features))]
    pd.DataFrame({"id": features.ids, "symbol": features.symbols, "other_ids": other_ids}).to_parquet(store / FEATURES)
    np.save(store / MEASURED, plan.genes.is_measured)
    sources = []
    for number, entry in enumerate(plan.config.sources):
        of_source = plan.cells.source == number
        read = contents.get(entry.path)  # `None` where the rules have left no cell of it
        sources.append(
            {
                **source_values(entry, fingerprint_of(entry), output),
                "size": _size(entry.path),
                "matrix": None if read is None else read[0],
                "content": None if read is None else str(read[1].content),
                "n_found": plan.n_found_per_source[number],
                "n_obs": int(of_source.sum()),
                "n_genes": int(plan.genes.is_measured[number].sum()),
                "sha256": hashlib.sha256(hashes[of_source].tobytes()).hexdigest(),
            }
        )
    filled = hashes[hashes != 0]
    order = np.lexsort((placement.place, placement.shard))
    whole = hashlib.sha256(json.dumps([features.to_json(), plan.cells.names, placement.split_of_shard]).encode())
    every: list[NDArray[Any]] = [hashes, placement.shard, *(plan.cells.codes[column] for column in COLUMNS)]
    for of_cells in every:
        whole.update(np.ascontiguousarray(of_cells[order]).tobytes())
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("sctab", "annbatch", "anndata", "zarr")},
        "run": run,
        "sha256": whole.hexdigest(),
        "codes_sha256": _hash_codes(plan, placement, order),
        "n_vars": plan.n_vars,
        "labels": {"names": labels.names, "ids": labels.ids, "ontology_version": labels.ontology_version},
        "label_ids": {name: term for name, term in plan.cells.label_ids.items() if name in labels.names},
        "names": {column: plan.cells.names[column] for column in COLUMNS},
        "splits": {split: int((plan.split == code).sum()) for code, split in enumerate(SPLIT_NAMES)},
        "parts": {split: placement.split_of_shard.count(split) for split in SPLIT_NAMES},
        "split_by": plan.config.split.by,
        "split_seed": plan.config.split.seed,
        "sources": sources,
        "rules": [
            {
                "name": step.filter.name,
                "parameters": step.filter.parameters,
                "n_cells": step.n_cells,
                "types": step.types,
                "n_donors": step.n_donors,
            }
            for step in plan.steps
        ],
        "duplicates": {"barcode": plan.n_duplicated, "expression": len(filled) - len(np.unique(filled))},
    }
    with written_beside(store / MANIFEST, overwrite=True) as beside:
        write_manifest(beside, manifest)


def _hash_codes(plan: CorpusPlan, placement: Placement, order: NDArray[np.int64]) -> dict[str, dict[str, str]]:
    """For each split and column a hash of the codes, in the order of the store."""
    split_of_shard = np.array([SPLIT_NAMES.index(split) for split in placement.split_of_shard])
    columns: dict[str, NDArray[Any]] = {column: plan.cells.codes[column] for column in COLUMNS}
    columns |= {"source": plan.cells.source, "row": plan.cells.row}
    of_split = split_of_shard[placement.shard[order]]
    return {
        split: {column: hash_codes(codes[order[of_split == number]]) for column, codes in columns.items()}
        for number, split in enumerate(SPLIT_NAMES)
    }


def _size(path: str) -> int | None:
    place = Path(path)
    if not place.exists():
        return None
    return sum(part.stat().st_size for part in place.rglob("*") if part.is_file()) if place.is_dir() else place.stat().st_size
