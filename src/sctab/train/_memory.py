"""An AnnData, in memory or backed, as what a model learns from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from sctab.data import (
    CORRECT,
    PROTEIN,
    RNA,
    FeatureSpace,
    LearnedMatrix,
    Normalization,
    ProteinPanel,
    Proteins,
    Query,
    check_modalities,
    find_covariates,
    find_modalities,
    fingerprint,
    is_mudata,
    join,
    learn_panel,
    normalise,
    one_hot,
    open_proteins,
    principal_components,
    proteins_of,
    reference_source,
    stated_species,
    var_of,
    vars_of,
)
from sctab.errors import Parameter, SettingError, listing, warn
from sctab.inference import ModelSpec
from sctab.io import to_csr
from sctab.keys import JOINT_PROTEINS
from sctab.ontology import CellOntology, LabelSpace, label_ids_from, tissues_of
from sctab.sampling import Split, SplitBy, clusters_of_types, split_cells
from sctab.train._continuation import spec_for_query
from sctab.train._genes import most_variable_genes
from sctab.train._labels import label_ids_in, require_known_labels, subtypes, warn_about_types
from sctab.train._memory_data import MemoryData, own_copy
from sctab.train._reference import HeldOut
from sctab.train._reference_checks import check_reference, require_paired
from sctab.train._settings import REFIT_BELOW, CommonSettings

if TYPE_CHECKING:
    from mudata import MuData

_N_COMPONENTS = 20
"""Principal components in which cells of a type are clustered."""


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
        adata: AnnData | MuData,
        labels_key: str,
        *,
        layer: str | None = None,
        donor_key: str | None = None,
        dataset_key: str | None = None,
        unlabeled_category: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        modalities: Mapping[str, str] | None = None,
        protein_layer: str | None = None,
    ) -> Self:
        """A reference that can be learned from; parameters and errors as in :meth:`sctab.model.CellTypeClassifier.setup_anndata`.

        Of a MuData, they are those of :meth:`sctab.model.CellTypeClassifier.setup_mudata`.
        """
        of_proteins: dict[str, Any] = {}
        if is_mudata(adata):
            if modalities is None:
                modalities = find_modalities(vars_of(adata))
                if RNA not in modalities:
                    raise SettingError(
                        f"No modality of the MuData, {listing(list(adata.mod))}, holds gene expression. Name it: ",
                        Parameter("modalities", {"rna": "…"}),
                        ".",
                    )
            check_modalities(adata, modalities)
            modalities = dict(modalities)
            if RNA not in modalities:
                raise SettingError(
                    Parameter("modalities"), " has no `rna`. Models learn proteins beside gene expression; name its modality."
                )
            if protein_layer is not None and PROTEIN not in modalities:
                raise SettingError(
                    Parameter("protein_layer"), " needs a modality with the role `protein`. Name it, or omit the layer."
                )
            require_paired(adata, modalities)
            of_proteins = {"modalities": modalities, "protein_layer": protein_layer}
            adata = join(adata, modalities, protein_layer=protein_layer)
        elif modalities is not None and JOINT_PROTEINS in getattr(adata, "uns", {}):  # that was joined before
            of_proteins = {"modalities": dict(modalities), "protein_layer": protein_layer}
        confirmed = {} if label_ids is None else label_ids_from(label_ids, CellOntology.embedded())
        keys = [] if categorical_covariate_keys is None else categorical_covariate_keys
        setup = {
            "labels_key": labels_key,
            "layer": layer,
            "donor_key": donor_key,
            "dataset_key": dataset_key,
            "unlabeled_category": unlabeled_category,
            "label_ids": dict(sorted(confirmed.items())),
            "categorical_covariate_keys": keys,
            "gene_id_key": gene_id_key,
            "gene_symbol_key": gene_symbol_key,
            **of_proteins,
        }
        unlabeled_category = check_reference(adata, setup)
        return cls(adata, setup | {"unlabeled_category": unlabeled_category, "categorical_covariate_keys": list(keys)})

    @classmethod
    def from_setup(cls, data: AnnData | MuData, setup: Mapping[str, Any]) -> Self:
        """A reference that was set up before; of a MuData with its modalities."""
        if is_mudata(data):
            return cls(join(data, setup["modalities"], protein_layer=setup["protein_layer"]), setup)
        return cls(data, setup)

    def require_proteins(self) -> None:
        """Refuse antibodies that cannot be learned from, before a model is made.

        Raises
        ------
        InputValueError
            If there are none, or if their values are not those of antibodies.
        """
        _ = self._panel

    @cached_property
    def _proteins(self) -> Proteins | None:
        """Antibodies of the cells, of a reference that was set up with them."""
        return proteins_of(self.adata) if PROTEIN in (self.setup.get("modalities") or {}) else None

    @cached_property
    def _panel(self) -> tuple[ProteinPanel, list[str]] | None:
        """Antibodies to learn from, with notes."""
        found = self._proteins
        return None if found is None else learn_panel(found.names, found.matrix)

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
        return self._units("donor")

    def _units(self, by: str) -> NDArray[np.object_] | None:
        """Dataset or donor that a split can hold out whole, for each cell, `(n_obs,)`; `None` where that is single cells."""
        key = self.setup.get(f"{by}_key") if by in ("dataset", "donor") else None
        return None if key is None else self.adata.obs[key].astype(str).to_numpy(dtype=object)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Columns and layer, and a hash of the matrix, genes, labels, donors and covariates."""
        source, _ = reference_source(self.adata, self.setup["layer"])
        columns = [self.adata.obs[key] for key in self.setup["categorical_covariate_keys"]]
        labels = self.adata.obs[self.setup["labels_key"]].astype(str)
        columns += [] if self._proteins is None else [self._proteins.names, [self._proteins.content()]]
        return {name: str(value) for name, value in self.setup.items() if name != "label_ids" or value} | {
            "data": fingerprint(source, labels, () if self._donors is None else self._donors, *columns)
        }

    def _content(self) -> str:
        return self.identity["data"]

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
        panel, notes = self._panel or (None, [])
        for note in notes:
            warn(note)
        spec = ModelSpec(
            model_class=model_class,
            proteins=panel,
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
        query = Query(
            source=source,
            match=match,
            normalization=spec.normalization,
            notes=(),
            covariates=covariates,
            proteins=None if spec.proteins is None else open_proteins(adata, spec.proteins)[0],
        )
        donors = None if self._donors is None else pd.factorize(self._donors)[0]
        return MemoryData(
            blocks=query.counts,
            content=self._content,
            learned=self.matrix or LearnedMatrix.of(source),
            labels=pd.Index(spec.labels.names).get_indexer(self._labels).astype(np.int64),
            donors=None if donors is None else donors.astype(np.int64),
            n_classes=len(spec.labels),
            covariates=query.beside(0, adata.n_obs),
            child_matrix=subtypes(spec.labels),
        )

    def held_out(self, split: Split) -> HeldOut:
        """Learn the training cells of a split, and judge by its validation cells."""
        return self._held_out(split, self.part(split.train))

    def _held_out(self, split: Split, reference: MemoryReference) -> HeldOut:
        held_out = split.validation
        cells, units = own_copy(self.adata, held_out), self._units(split.by)
        return HeldOut(
            reference=reference,
            by=split.by,
            truth=self._labels[held_out],
            unit="cell" if units is None else "dataset" if split.by == "dataset" else "donor",
            units=None if units is None else units[held_out],
            parts=lambda: [cells],
            layer=self.setup["layer"] or "X",
            identity=self.identity,
        )

    def all_held_out(self) -> HeldOut:
        """Judge by all labelled cells, of which nothing is learned."""
        by = next(
            (by for by in ("dataset", "donor") if (units := self._units(by)) is not None and len(np.unique(units)) > 1), "none"
        )
        return self._held_out(Split(train=self._labeled[:0], validation=self._labeled, by=cast("Any", by)), self)

    def split(self, train_size: float, seed: int) -> Split:
        """Labelled cells to learn from and to hold out, by donor where there are enough."""
        codes = pd.factorize(self._labels)[0].astype(np.int64)
        donors = None if self._donors is None else pd.factorize(self._donors)[0].astype(np.int64)
        return split_cells(codes, donors, train_size=train_size, by="donor", rng=np.random.default_rng(seed))

    def validation(self, split: Split) -> HeldOut | None:
        """The validation cells; types that they have are among those that are learned."""
        return self._held_out(split, self) if len(split.validation) else None

    def n_folds(self, requested: int | None) -> int:
        """Return three parts by default, and one of a large reference."""
        return requested or (3 if self.n_obs < REFIT_BELOW else 1)

    def folds(self, n_folds: int | None, *, by: str, seed: int) -> Iterator[HeldOut]:
        """Cut the labelled cells into parts and hold each of them out; of a large reference, by default one part of five only.

        `"cluster"` holds out a cluster of each type at a time.
        """
        n_parts = n_folds or (3 if self.n_obs < REFIT_BELOW else 5)
        if by == "cluster":
            for part in self._clusters(n_parts, seed):
                yield self._without(part, "stratified")
            return
        labels, units = self._labels[self._labeled], self._units(by)
        n_units = 0 if units is None else len(np.unique(units[self._labeled]))
        if by == "dataset":
            if n_units < 2:
                yield from self.folds(n_folds, by="donor", seed=seed)
                return
            n_parts = min(n_parts, n_units)
        whole = None if units is None or n_units < n_parts else units[self._labeled]
        splitter = (StratifiedKFold if whole is None else StratifiedGroupKFold)(n_parts, shuffle=True, random_state=seed)
        if whole is None and pd.Series(labels).value_counts().max() < n_parts:
            raise SettingError(f"No type has {n_parts} cells, one for each part. Name one model class instead of `auto`.")
        with warnings.catch_warnings():
            message = "The least populated class"  # it is in few of the parts
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
            pairs = list(splitter.split(labels, labels.astype(str), whole))
        if whole is not None:  # such as donors of whom each has a type of its own
            n_known = sum(int(np.isin(labels[held_out], labels[rest]).sum()) for rest, held_out in pairs)
            if n_known < len(labels) / 2:
                yield from self.folds(n_folds, by="stratified", seed=seed)
                return
        parts = [self._labeled[held_out] for _, held_out in pairs]
        for held_out in parts[: self.n_folds(n_folds)]:
            yield self._without(held_out, "stratified" if whole is None else "dataset" if by == "dataset" else "donor")

    def _without(self, held_out: NDArray[np.int64], by: SplitBy | Literal["dataset"]) -> HeldOut:
        """Learn all cells but some."""
        rest = np.setdiff1d(np.arange(self.adata.n_obs), held_out)
        return self.held_out(Split(train=rest, validation=held_out, by=by))

    def _clusters(self, n_parts: int, seed: int) -> list[NDArray[np.int64]]:
        """Labelled cells in parts, each with a cluster of each type: cells that differ from the others of their type."""
        cells, rng = own_copy(self.adata, self._labeled), np.random.default_rng(seed)
        source, _ = reference_source(cells, self.setup["layer"])
        values = normalise(source.content.to_linear(to_csr(source.matrix, source.name)), Normalization())
        n_components = min(_N_COMPONENTS, values.shape[1])
        found = principal_components(lambda: iter([values]), values.shape[1], n_components, rng=rng).project(values)
        parts = clusters_of_types(found, pd.factorize(self._labels[self._labeled])[0], n_parts, rng=rng)
        return [self._labeled[parts == part] for part in range(n_parts)]
