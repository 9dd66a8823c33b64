"""An AnnData, in memory or backed, as what a model learns from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from sctab.data import (
    CORRECT,
    FeatureSpace,
    LearnedMatrix,
    Normalization,
    Query,
    find_covariates,
    fingerprint,
    one_hot,
    reference_source,
    require_anndata,
    require_cells_in_rows,
    stated_species,
    var_of,
)
from sctab.errors import InputValueError, LabelError, Parameter, SettingError, missing_key, place, warn
from sctab.inference import ModelSpec
from sctab.io import BLOCK_SIZE, require_sound_cells
from sctab.keys import SCVI_KEYS
from sctab.ontology import CellOntology, LabelSpace, label_ids_from, tissues_of
from sctab.sampling import Split, split_cells
from sctab.train._batches import CountsDataModule, MemoryBatches
from sctab.train._continuation import spec_for_query
from sctab.train._genes import most_variable_genes
from sctab.train._labels import check_labels, label_ids_in, require_known_labels, subtypes, warn_about_types
from sctab.train._reference import HeldOut, TrainingData, content_hash
from sctab.train._settings import REFIT_BELOW, CommonSettings


@dataclass(frozen=True, eq=False)
class MemoryReference:
    """An annotated AnnData, in memory or backed."""

    adata: AnnData = field(repr=False)
    setup: Mapping[str, Any]
    matrix: LearnedMatrix | None = None
    """The matrix that it was made from; by default its own."""

    @classmethod
    def of(
        cls,
        adata: AnnData,
        labels_key: str,
        *,
        layer: str | None = None,
        donor_key: str | None = None,
        unlabeled_category: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
    ) -> Self:
        """A reference that can be learned from; parameters and errors as in :meth:`sctab.model.CellTypeClassifier.setup_anndata`."""
        confirmed = {} if label_ids is None else label_ids_from(label_ids, CellOntology.embedded())
        keys = [] if categorical_covariate_keys is None else categorical_covariate_keys
        setup = {
            "labels_key": labels_key,
            "layer": layer,
            "donor_key": donor_key,
            "unlabeled_category": unlabeled_category,
            "label_ids": dict(sorted(confirmed.items())),
            "categorical_covariate_keys": keys,
            "gene_id_key": gene_id_key,
            "gene_symbol_key": gene_symbol_key,
        }
        unlabeled_category = _check(adata, setup)
        return cls(adata, setup | {"unlabeled_category": unlabeled_category, "categorical_covariate_keys": list(keys)})

    @cached_property
    def _labels(self) -> NDArray[np.object_]:
        """Label of each cell, `(n_obs,)`; `None` where it has none."""
        labels = self.adata.obs[self.setup["labels_key"]].astype(str).to_numpy(dtype=object)
        labels[labels == self.setup["unlabeled_category"]] = None
        return labels

    @cached_property
    def _labeled(self) -> NDArray[np.int64]:
        """Positions of the cells with a label."""
        return np.flatnonzero(~pd.isna(self._labels))

    @cached_property
    def _donors(self) -> NDArray[np.object_] | None:
        """Donor of each cell, `(n_obs,)`."""
        key = self.setup["donor_key"]
        return None if key is None else self.adata.obs[key].astype(str).to_numpy(dtype=object)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Columns and layer, and a hash of the matrix, genes, labels, donors and covariates."""
        source, _ = reference_source(self.adata, self.setup["layer"])
        columns = [self.adata.obs[key] for key in self.setup["categorical_covariate_keys"]]
        labels = self.adata.obs[self.setup["labels_key"]].astype(str)
        return {name: str(value) for name, value in self.setup.items() if name != "label_ids" or value} | {
            "data": fingerprint(source, labels, () if self._donors is None else self._donors, *columns)
        }

    @property
    def n_obs(self) -> int:
        """Labelled cells."""
        return len(self._labeled)

    @property
    def obs(self) -> pd.DataFrame:
        """`obs` of the labelled cells."""
        return self.adata.obs.iloc[self._labeled]

    @property
    def label_names(self) -> list[str]:
        """Types, in order of the alphabet."""
        return sorted(set(self._labels[self._labeled]))

    @property
    def label_ids(self) -> Mapping[str, str | None]:
        """Those of the set-up."""
        return label_ids_in(self.setup)

    def to_anndata(self) -> AnnData:
        """The AnnData itself, where all of its cells have a label."""
        return self.adata if self.n_obs == self.adata.n_obs else own_copy(self.adata, self._labeled)

    def to_send(self) -> Self:
        """A backed AnnData is read: another process cannot have the open file."""
        return replace(self, adata=own_copy(self.adata, np.arange(self.adata.n_obs))) if self.adata.isbacked else self

    def part(self, cells: NDArray[np.int64]) -> Self:
        """Some of the cells, in memory."""
        return replace(self, adata=own_copy(self.adata, cells))

    def describe(self, model_class: str, *, n_top_genes: int | str | None, architecture: Mapping[str, Any]) -> ModelSpec:
        """An untrained model."""
        adata, setup = self.adata, self.setup
        labels = LabelSpace.from_names(
            self.label_names, CellOntology.embedded(), label_ids=self.label_ids, tissues=tissues_of(adata.obs)
        )
        warn_about_types(pd.Series(self._labels[self._labeled]), labels)
        features = FeatureSpace.from_var(
            var_of(adata, setup["layer"]), gene_id_key=setup["gene_id_key"], gene_symbol_key=setup["gene_symbol_key"]
        )
        for note in stated_species(adata).notes(features.species, owner="the reference", fix=CORRECT):
            warn(note)
        spec = ModelSpec(
            model_class=model_class,
            covariates=find_covariates(adata.obs, setup["categorical_covariate_keys"]),
            architecture=architecture,
            features=features,
            labels=labels,
            normalization=Normalization(),
            setup=setup,
        )
        if not isinstance(n_top_genes, int) or n_top_genes >= len(spec.features):
            return spec
        return replace(spec, features=most_variable_genes(self.data(spec).counts, spec, n_top_genes))

    def continue_from(self, spec: ModelSpec, *, new_labels: bool) -> ModelSpec:
        """A trained model that is trained on."""
        if new_labels:
            return spec_for_query(spec, self.label_names, self.setup)
        require_known_labels(self.label_names, spec)
        return spec

    def training_defaults[S: CommonSettings](self, settings: S) -> S:
        """Those of the class."""
        return settings

    def check_settings(self, given: Mapping[str, Any]) -> None:
        """All settings are open."""

    def data(self, spec: ModelSpec) -> MemoryData:
        """Training data of a model."""
        adata, setup = self.adata, self.setup
        source, _ = reference_source(adata, setup["layer"])
        match = spec.features.match(source.var, gene_id_key=setup["gene_id_key"], gene_symbol_key=setup["gene_symbol_key"])
        covariates = one_hot(adata.obs, spec.covariates)
        query = Query(source=source, match=match, normalization=spec.normalization, notes=(), covariates=covariates)
        donors = None if self._donors is None else pd.factorize(self._donors)[0]
        return MemoryData(
            blocks=query.counts,
            learned=self.matrix or LearnedMatrix.of(source),
            labels=pd.Index(spec.labels.names).get_indexer(self._labels).astype(np.int64),
            donors=None if donors is None else donors.astype(np.int64),
            n_classes=len(spec.labels),
            covariates=covariates,
            child_matrix=subtypes(spec.labels),
        )

    def held_out(self, split: Split) -> HeldOut:
        """Learn the training cells of a split, and judge by its validation cells."""
        labels, donors, held_out = self._labels, self._donors, split.validation
        cells = own_copy(self.adata, held_out)
        return HeldOut(
            reference=self.part(split.train),
            by=split.by,
            truth=labels[held_out],
            donors=donors[held_out] if donors is not None and split.by == "donor" else None,
            parts=lambda: [cells],
            layer=self.setup["layer"] or "X",
            identity=self.identity,
        )

    def split(self, train_size: float, seed: int) -> Split:
        """Labelled cells to learn from and to hold out, by donor where there are enough."""
        codes = pd.factorize(self._labels)[0].astype(np.int64)
        donors = None if self._donors is None else pd.factorize(self._donors)[0].astype(np.int64)
        return split_cells(codes, donors, train_size=train_size, by="donor", rng=np.random.default_rng(seed))

    def n_folds(self, requested: int | None) -> int:
        """Return three parts by default, and one of a large reference."""
        return requested or (3 if self.n_obs < REFIT_BELOW else 1)

    def folds(self, n_folds: int | None, *, by: str, seed: int) -> Iterator[HeldOut]:
        """Cut the labelled cells into parts and hold each of them out; of a large reference, by default one part of five only."""
        n_parts = n_folds or (3 if self.n_obs < REFIT_BELOW else 5)
        labels = self._labels[self._labeled]
        donors = None if self._donors is None or by != "donor" else self._donors[self._labeled]
        by_donor = donors is not None and len(np.unique(donors)) >= n_parts
        splitter = (StratifiedGroupKFold if by_donor else StratifiedKFold)(n_parts, shuffle=True, random_state=seed)
        if not by_donor and pd.Series(labels).value_counts().max() < n_parts:
            raise SettingError(f"No type has {n_parts} cells, one for each part. Name one model class instead of `auto`.")
        with warnings.catch_warnings():
            message = "The least populated class"  # it is in few of the parts
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
            parts = [self._labeled[held_out] for _, held_out in splitter.split(labels, labels.astype(str), donors)]
        for held_out in parts[: self.n_folds(n_folds)]:
            rest = np.setdiff1d(np.arange(self.adata.n_obs), held_out)
            yield self.held_out(Split(train=rest, validation=held_out, by="donor" if by_donor else "stratified"))


@dataclass(frozen=True)
class MemoryData(TrainingData):
    """An AnnData, in memory or backed."""

    blocks: Callable[[int], Iterator[sparse.csr_matrix]] = field(repr=False)
    """Source of :meth:`read`."""
    learned: LearnedMatrix | None = None
    """Source of :attr:`matrix`."""

    @property
    def matrix(self) -> LearnedMatrix | None:
        """The matrix of the AnnData."""
        return self.learned

    def read(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The counts of all cells, from where they are."""
        return self.blocks(size)

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """All counts in memory, `(n_obs, n_vars)`; what learns block by block leaves them where they are."""
        return sparse.vstack(list(self.read(BLOCK_SIZE)), format="csr").astype(np.float32, copy=False)

    def rows(self, cells: NDArray[np.int64]) -> sparse.csr_matrix:
        """Counts of some cells, from memory."""
        return self.counts[cells]

    @property
    def _identity_of_counts(self) -> dict[str, Any]:
        counts = self.counts
        if not counts.has_canonical_format or (counts.data == 0).any():
            counts = counts.copy()
            counts.sum_duplicates()
            counts.eliminate_zeros()
        return {"counts": content_hash(counts.indptr, counts.indices, counts.data)}

    def split(self, settings: CommonSettings) -> Split:
        """Split the labelled cells by donor or stratified by type."""
        return split_cells(
            self.labels, self.donors, train_size=settings.train_size, by=settings.validation_split, rng=settings.split_rng
        )

    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches from memory."""

        def of(cells: NDArray[np.int64], shuffle: int | None) -> MemoryBatches:
            return MemoryBatches(self.counts, self.covariates, self.labels, cells, batch_size, seed=shuffle)

        return CountsDataModule(split, of(split.train, seed), of(split.validation, None))


def own_copy(adata: AnnData, cells: NDArray[np.int64]) -> AnnData:
    """Some cells of a reference, in memory, that scvi-tools does not take for the reference itself."""
    require_sound_cells(adata)
    copy = adata[cells].to_memory()
    if adata.isbacked:
        copy = copy.copy()  # what was read through a view holds on to the open file, and cannot go to another process
    for key in SCVI_KEYS:
        copy.uns.pop(key, None)
    return copy


def _check(adata: AnnData, setup: Mapping[str, Any]) -> str | None:
    """Refuse what cannot be learned from, and give the label that means "no label"; errors as in `setup_anndata`."""
    labels_key, donor_key = setup["labels_key"], setup["donor_key"]
    categorical_covariate_keys: Sequence[str] = setup["categorical_covariate_keys"]
    require_anndata(adata)
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputValueError(f"The reference has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to learn from.")
    if adata.is_view:
        call = "to_memory" if adata.isbacked else "copy"
        raise InputValueError(f"The reference is a view of another AnnData. Call `adata = adata.{call}()` first.")
    require_cells_in_rows(adata)
    unlabeled_category = check_labels(
        _obs_column(adata, labels_key, "labels_key"),
        labels_key,
        unlabeled_category=setup["unlabeled_category"],
        label_ids=label_ids_in(setup),
    )
    if donor_key is not None and (donors := _obs_column(adata, donor_key, "donor_key")).isna().any():
        raise LabelError(
            place(f"obs[{donor_key!r}]"),
            f" has no donor (NaN) for {int(donors.isna().sum())} of {adata.n_obs} cells. Fill them in, or omit ",
            Parameter("donor_key"),
            ".",
        )
    if isinstance(categorical_covariate_keys, str):
        raise SettingError(
            Parameter("categorical_covariate_keys", categorical_covariate_keys),
            f" must be a list: write `[{categorical_covariate_keys!r}]`.",
        )
    for key in categorical_covariate_keys:
        if key == labels_key:
            raise SettingError(
                Parameter("categorical_covariate_keys"), f" has the labels, `{key}`, which a query does not have. Omit them."
            )
        if _obs_column(adata, key, "categorical_covariate_keys").dropna().empty:
            raise LabelError(
                place(f"obs[{key!r}]"),
                " has no value in any cell. Remove it from ",
                Parameter("categorical_covariate_keys"),
                ".",
            )
        if (n_values := adata.obs[key].nunique()) > max(adata.n_obs / 2, 2):
            raise LabelError(
                place(f"obs[{key!r}]"),
                f" has {n_values} different values in {adata.n_obs} cells: these are not categories. Group them, or remove the column "
                "from ",
                Parameter("categorical_covariate_keys"),
                ".",
            )
    source, _ = reference_source(adata, setup["layer"])
    if source.content.remark:
        warn(source.content.remark)
    for parameter in ("gene_id_key", "gene_symbol_key"):
        if (key := setup[parameter]) is not None and key not in source.var:
            raise missing_key(parameter, key, source.var.columns, where="raw.var" if source.name == "raw.X" else "var")
    return unlabeled_category


def _obs_column(adata: AnnData, key: str, parameter: str) -> pd.Series:
    if key not in adata.obs:
        raise missing_key(parameter, key, adata.obs.columns)
    return adata.obs[key]
