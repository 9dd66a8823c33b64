"""From a declared task to cells to learn from and cells to name."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.benchmark._config import Task
from sctab.data import FeatureSpace, choose_expression, choose_source, gene_expression
from sctab.errors import DataFileError, KeyNotFoundError, SctabWarning, SettingError, did_you_mean, listing
from sctab.io import read_data_file, to_csr
from sctab.ontology import is_missing
from sctab.sampling import split_cells
from sctab.train import CorpusReference, MemoryReference, Reference


@dataclass(frozen=True)
class Cells:
    """The cells of a task."""

    source: Reference
    """Reference cells."""
    query: AnnData
    """Query cells."""
    types: tuple[str, ...]
    """Types of the whole reference; a part of it may have fewer."""

    @property
    def reference(self) -> AnnData:
        """Cells to learn from, in memory."""
        return self.source.to_anndata()

    @property
    def learned(self) -> pd.DataFrame:
        """Table of the cells to learn from."""
        return self.source.obs


def load_task(task: Task, data: Path, *, fraction: float = 1.0, seed: int = 0) -> Cells:
    """Read the files of a task, split, and take a part of the reference.

    Cells without a label are left out, and so are features that are not genes. `X` is on the scale of counts, whatever the files hold. A
    corpus stays where it is.

    Parameters
    ----------
    task
        The task.
    data
        Folder of its files.
    fraction
        Fraction of the reference to learn from, by `task.subset`. With the same `seed`, a smaller share lies within a larger one.
    seed
        Decides what belongs to the share. A corpus has its own shares.

    Raises
    ------
    DataFileError
        If a file cannot be read.
    KeyNotFoundError
        If a column or layer does not exist.
    InputValueError
        If no matrix of a file can be converted to the scale of counts.
    SettingError
        If the split leaves no cell on one side.
    """
    if task.split == "corpus":
        by = "cell" if task.subset is not None and task.subset.by == "cell" else "donor"
        part = CorpusReference.of(data / task.reference, fraction, by)
        query = part.corpus.to_anndata("test")
        _require_columns(query, task.reference, [task.group_key])
        return Cells(part, query, tuple(part.label_names))
    reference = _read(data, task.reference, task, [task.donor_key])
    if task.query is not None:
        query = _read(data, task.query, task, [])
    else:
        is_test = _test_cells(task, reference.obs)
        if is_test.all() or not is_test.any():
            raise SettingError(
                f"The split of `{task.name}` assigns {int(is_test.sum())} of {len(is_test)} cells to the query. Both sides need cells."
            )
        reference, query = reference[~is_test].copy(), reference[is_test].copy()
    _require_columns(query, task.query or task.reference, [task.group_key])
    types = tuple(sorted(reference.obs[task.labels_key].astype(str).unique()))
    if fraction < 1:
        reference = reference[_part(task, reference.obs, fraction, np.random.default_rng(seed))].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SctabWarning)  # notes for users, such as a type with few cells
        source = MemoryReference.of(
            reference,
            task.labels_key,
            donor_key=task.donor_key,
            label_ids=None if task.label_map is None else data / task.label_map,
            gene_id_key=task.gene_id_key,
            gene_symbol_key=task.gene_symbol_key,
        )
    return Cells(source, query, types)


def over_shared_genes(cells: Cells, task: Task) -> tuple[AnnData, AnnData]:
    """Reference and query over the genes that both have, in the order of the reference.

    Genes are matched by the index of `var`. Where names repeat there, or where it holds symbols on one side and ids on the other, they
    are matched as the models do.

    Raises
    ------
    GeneOverlapError
        If they have no gene in common.
    """
    reference, query = cells.reference, cells.query
    id_key, symbol_key = task.gene_id_key, task.gene_symbol_key
    genes = FeatureSpace.from_var(reference.var, gene_id_key=id_key, gene_symbol_key=symbol_key)
    match = genes.match(query.var)
    match.require(0)
    names = reference.var_names.intersection(query.var_names)
    if reference.var_names.is_unique and query.var_names.is_unique and 2 * len(names) > match.n_matched:
        learned, named = reference[:, names].X.copy(), query[:, names].X.copy()
    else:
        names = pd.Index(genes.names)[match.found]
        own = genes.match(reference.var, gene_id_key=id_key, gene_symbol_key=symbol_key)
        learned, named = own.align(reference.X)[:, match.found], match.align(query.X)[:, match.found]
    var = pd.DataFrame(index=names)
    return AnnData(learned, obs=reference.obs, var=var), AnnData(named, obs=query.obs, var=var)


def _read(data: Path, name: str, task: Task, columns: list[str | None]) -> AnnData:
    """The labelled cells and the genes of a file, on the scale of counts."""
    path = data / name
    if not path.is_file():
        raise DataFileError(f"`{path}` not found. Set the data folder with `data:` in the file, or with `--data`.")
    adata = read_data_file(path, modality=task.modality, choose=choose_expression())
    _require_columns(adata, name, [task.labels_key, *columns])
    source, _ = choose_source(adata, layer=task.layer)
    labels = adata.obs[task.labels_key]
    is_labelled = labels.notna() & (labels.astype(str) != task.unlabeled_category)
    missing = [label for label in labels.dropna().unique() if is_missing(str(label))]
    is_labelled &= ~labels.isin(missing)
    linear = AnnData(source.content.to_linear(to_csr(source.matrix, source.name)), obs=adata.obs, var=source.var)
    return linear[is_labelled.to_numpy(), gene_expression(source.var)].copy()


def _require_columns(adata: AnnData, name: str, keys: list[str | None]) -> None:
    for key in keys:
        if key is not None and key not in adata.obs:
            raise KeyNotFoundError(
                f"`{key}` is not in `obs` of `{name}`.{did_you_mean(key, adata.obs.columns)} Columns: {listing(adata.obs.columns)}."
            )


def _test_cells(task: Task, obs: pd.DataFrame) -> NDArray[np.bool_]:
    donors = None if task.donor_key is None else obs[task.donor_key].astype(str)
    if task.test_donors and donors is not None:
        unknown = sorted(set(task.test_donors) - set(donors))
        if unknown:
            raise SettingError(f"`test_donors` of `{task.name}` names {listing(unknown)}, which `{task.donor_key}` does not have.")
        return donors.isin(task.test_donors).to_numpy()
    split = split_cells(
        pd.factorize(obs[task.labels_key])[0].astype(np.int64),
        None if donors is None else pd.factorize(donors)[0].astype(np.int64),
        train_size=1 - (task.test_fraction or 0.0),
        by="donor" if task.split == "donor" else "stratified",
        rng=np.random.default_rng(task.split_seed),
    )
    if task.split == "donor" and split.by != "donor":
        raise SettingError(
            f"`{task.name}` cannot be split by donor: that takes three donors, and each type in those that are left."
        )
    is_test = np.zeros(len(obs), dtype=bool)
    is_test[split.validation] = True
    return is_test


def _part(task: Task, obs: pd.DataFrame, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The first cells or donors of a random order, as many as the fraction says, so that parts are nested."""
    if task.subset is not None and task.subset.by == "donor":
        donors = obs[task.donor_key].astype(str)
        chosen = rng.permutation(sorted(donors.unique()))
        return donors.isin(chosen[: math.ceil(fraction * len(chosen))]).to_numpy()
    is_part = np.zeros(len(obs), dtype=bool)
    is_part[rng.permutation(len(obs))[: math.ceil(fraction * len(obs))]] = True
    return is_part
