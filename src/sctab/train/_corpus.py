"""A corpus as what a model learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save as dump_arrays
from scipy import sparse

from sctab.augmentation import donor_differences
from sctab.corpus import COLUMNS, Corpus
from sctab.data import Covariate, FeatureSpace, Normalization
from sctab.errors import KeyNotFoundError, LabelError, OutputError, Parameter, SettingError, listing, warn
from sctab.inference import ModelSpec, Unit
from sctab.io import RowReader, row_ranges, written_beside
from sctab.ontology import CellOntology, LabelSpace
from sctab.sampling import Split, split_cells
from sctab.train._batches import CountsDataModule
from sctab.train._continuation import spec_for_query
from sctab.train._genes import most_variable_genes
from sctab.train._labels import check_label_names, label_ids_in, require_known_labels, subtypes, warn_about_ids
from sctab.train._reference import HeldOut, TrainingData
from sctab.train._settings import CommonSettings
from sctab.train._streaming import RowLoader, StreamedBatches

LEARNED, VALIDATED = "train", "validation"
_DERIVED = "derived"
"""Directory of a corpus for what was computed from it once."""
_MOST_CELLS_FOR_GENES = 20_000
"""Cells among which the genes that vary most are looked for."""
SETUP: dict[str, Any] = {
    "labels_key": "label",
    "layer": None,
    "donor_key": "donor",
    "dataset_key": "dataset",
    "unlabeled_category": None,
    "categorical_covariate_keys": [],
    "gene_id_key": None,
    "gene_symbol_key": None,
}
"""Arguments of `setup_anndata` that describe the cells of a corpus."""
_COVARIATES = tuple(column for column in COLUMNS if column not in {"label", "donor"})


@dataclass(frozen=True)
class CorpusReference:
    """The part of a corpus that a model learns from: all or some of its training cells; its validation cells validate."""

    corpus: Corpus
    fraction: float = 1.0
    """Fraction of the training donors or cells."""
    fraction_by: str = "donor"
    """`"donor"` or `"cell"`."""
    covariate_keys: Sequence[str] = ()
    """Covariates of the model."""
    validates_apart: bool = False
    """Validate on some of the training donors, so that no decision in training looks at the validation cells."""

    @classmethod
    def of(
        cls,
        corpus: Corpus | str | PathLike[str],
        fraction: float = 1.0,
        fraction_by: str = "donor",
        covariate_keys: Sequence[str] = (),
    ) -> Self:
        """A part of a corpus, or of what is in its directory."""
        return cls(corpus if isinstance(corpus, Corpus) else Corpus.open(corpus), fraction, fraction_by, covariate_keys)

    @property
    def adata(self) -> None:
        """A corpus is not in memory."""

    @property
    def setup(self) -> dict[str, Any]:
        """The columns of every corpus, and the covariates."""
        return SETUP | {"categorical_covariate_keys": list(self.covariate_keys)}

    @property
    def identity(self) -> dict[str, str]:
        """Identity of the corpus and of the part."""
        return {
            "fraction": str(self.fraction),
            "fraction_by": self.fraction_by,
            "categorical_covariate_keys": str(list(self.covariate_keys)),
            "data": self.corpus.sha256,
        }

    @property
    def n_obs(self) -> int:
        """Training cells to learn from."""
        return len(self.cells)

    @property
    def obs(self) -> pd.DataFrame:
        """`obs` of these cells."""
        return self.corpus.obs(LEARNED).iloc[self.cells]

    @property
    def label_ids(self) -> Mapping[str, str | None]:
        """Those that the corpus was built with."""
        return label_ids_in(self.corpus.manifest)

    def to_anndata(self) -> AnnData:
        """The training cells to learn from, read from the store."""
        return self.corpus.to_anndata(LEARNED, self.cells)

    def to_send(self) -> Self:
        """The corpus, which each process opens by itself."""
        return self

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Positions of the training cells to learn from, in order."""
        if self.fraction == 1:
            return np.arange(self.corpus.n_obs_of(LEARNED))
        return self.corpus.subset(self.fraction, by=self.fraction_by)

    @cached_property
    def label_names(self) -> list[str]:
        """Types of the training cells, in order: those of all of them, so that models of different shares have the same."""
        return self._names_of(self._label_codes)

    @cached_property
    def learned_names(self) -> list[str]:
        """Types of the cells to learn from."""
        return self._names_of(self._label_codes[self.cells])

    @property
    def _label_codes(self) -> NDArray[np.int32]:
        return self.corpus.codes(LEARNED, ["label"])["label"].to_numpy()

    def _names_of(self, codes: NDArray[np.int32]) -> list[str]:
        return [self.corpus.manifest["names"]["label"][code] for code in np.unique(codes)]

    def describe(self, model_class: str, *, n_top_genes: int | str | None, architecture: Mapping[str, Any]) -> ModelSpec:
        """An untrained model; it warns of types that it cannot learn.

        Raises
        ------
        KeyNotFoundError
            If a covariate is not among what a corpus knows.
        LabelError
            If there are not two types to learn.
        """
        corpus, names = self.corpus, self.corpus.manifest["names"]
        keys = self.known_covariates()
        codes = corpus.codes(LEARNED, keys)
        learned = self.learned_names
        check_label_names(self.label_names, f"`{corpus.path}`")
        labels = LabelSpace.from_names(self.label_names, CellOntology.embedded(), label_ids=self.label_ids)
        if len(learned) < 2:
            raise LabelError("At least two cell types with training cells are needed to tell them apart. Use a larger `fraction`.")
        if missing := [name for name in labels.names if name not in learned]:
            warn(f"{len(missing)} of {len(labels)} types have no cell in this subset and cannot be learned: {listing(missing)}.")
        warn_about_ids(labels)
        spec = ModelSpec(
            model_class=model_class,
            covariates=tuple(
                Covariate(key, tuple(names[key][code] for code in np.unique(codes[key]) if code >= 0)) for key in keys
            ),
            architecture=architecture,
            features=corpus.features,
            labels=labels,
            normalization=Normalization(),
            setup=self.setup,
        )
        if not isinstance(n_top_genes, int) or n_top_genes >= len(spec.features):
            return spec
        rng = np.random.default_rng(0)
        sample = np.sort(rng.choice(self.cells, size=min(len(self.cells), _MOST_CELLS_FOR_GENES), replace=False))
        counts = RowLoader(corpus.matrices(LEARNED)).rows(sample)
        return replace(spec, features=most_variable_genes(counts, spec, n_top_genes))

    def continue_from(self, spec: ModelSpec, *, new_labels: bool) -> ModelSpec:
        """A trained model that is trained on with this part; what its covariates are does not change."""
        spec.features.match(self.corpus.var).require(0)
        if not new_labels:
            require_known_labels(self.label_names, spec)
            return spec
        keys = [covariate.key for covariate in spec.covariates if covariate.key in _COVARIATES]
        return spec_for_query(spec, self.label_names, SETUP | {"categorical_covariate_keys": keys})

    def training_defaults[S: CommonSettings](self, settings: S) -> S:
        """Those of the class, but validation cells are used for training only on request."""
        return replace(settings, refit=False)

    def check_settings(self, given: Mapping[str, Any]) -> None:
        """The split is that of the corpus."""
        if "validation_split" in given:
            raise SettingError("`validation_split` cannot be set with a corpus, which has its own splits. Omit it.")
        if given.get("train_size", 1) != 1:
            raise SettingError(
                Parameter("train_size", given["train_size"]),
                " cannot be set with a corpus, which has its own splits. Omit it, or use 1 to train on the validation cells too.",
            )

    def held_out(self) -> HeldOut:
        """Learn the training cells, some of whose donors validate them, and judge by the validation cells."""
        obs = self.corpus.obs(VALIDATED)
        whole: dict[str, tuple[Unit, ...]] = {"dataset": ("dataset", "donor"), "donor": ("donor",), "declared": ("donor",)}
        found = (unit for unit in whole.get(self.corpus.manifest["split_by"], ()) if unit in obs and obs[unit].notna().all())
        unit: Unit = next((unit for unit in found if len(set(obs[unit])) > 1), "cell")
        return HeldOut(
            reference=replace(self, validates_apart=True),
            by="corpus",
            truth=obs["label"].astype(str).to_numpy(dtype=object),
            unit=unit,
            units=None if unit == "cell" else obs[unit].astype(str).to_numpy(dtype=object),
            parts=self._validation_cells,
            layer="X",
            identity=self.identity,
        )

    def validation(self, split: Split) -> HeldOut | None:
        """The validation cells of the corpus, unless they are learned as well."""
        return self.held_out() if split.by == "corpus" else None

    def n_folds(self, requested: int | None) -> int:  # noqa: ARG002 - a corpus has its own split
        """Return one, whatever is requested."""
        return 1

    def folds(self, n_folds: int | None, *, by: str, seed: int) -> Iterator[HeldOut]:  # noqa: ARG002 - a corpus has its own split
        """Hold the validation cells out, once."""
        if n_folds is not None:
            raise SettingError(
                Parameter("n_folds", n_folds), " cannot be set with a corpus, whose validation cells are held out. Omit it."
            )
        yield self.held_out()

    def _validation_cells(self) -> Iterator[AnnData]:
        obs, var = self.corpus.obs(VALIDATED), self.corpus.var
        obs.index = obs.index.astype(str)
        first = 0
        for matrix in self.corpus.matrices(VALIDATED):
            reader = RowReader(matrix)
            for start, stop in row_ranges(matrix):
                yield AnnData(reader.read(start, stop), obs=obs.iloc[first + start : first + stop], var=var)
            first += matrix.shape[0]

    def known_covariates(self) -> Sequence[str]:
        """Covariates of the model; errors as in :meth:`describe`."""
        keys = self.covariate_keys
        if isinstance(keys, str):
            raise SettingError(Parameter("categorical_covariate_keys", keys), f" must be a list: write `[{keys!r}]`.")
        for key in keys:
            if key not in _COVARIATES:
                raise KeyNotFoundError(f"`{key}` is not a column of a corpus. Choose from {listing(_COVARIATES)}.")
            if (self.corpus.codes(LEARNED, [key])[key] < 0).all():
                raise LabelError(
                    f"No training cell has a known {key}. Name its column as `{key}_key` of the sources, and build the corpus again."
                )
        return keys

    def data(self, spec: ModelSpec) -> CorpusData:
        """Training data over the genes and labels of a model; cells with other labels are excluded."""
        corpus, names = self.corpus, self.corpus.manifest["names"]
        keys = [covariate.key for covariate in spec.covariates if covariate.key in _COVARIATES]
        codes = pd.concat([corpus.codes(split, ["label", "donor", *keys]) for split in (LEARNED, VALIDATED)], ignore_index=True)
        n_learned = corpus.n_obs_of(LEARNED)
        of_model = np.append(pd.Index(spec.labels.names).get_indexer(pd.Index(names["label"])), -1)  # -1 for no label
        labels = of_model[codes["label"].to_numpy()].astype(np.int64)
        if self.fraction < 1:
            left_out = np.ones(n_learned, dtype=bool)
            left_out[self.cells] = False
            labels[:n_learned][left_out] = -1
        donors = codes["donor"].to_numpy().astype(np.int64)
        donors[donors < 0] = len(names["donor"])  # nobody knows who, and that they are not all the same
        return CorpusData(
            labels=labels,
            donors=donors if names["donor"] else None,
            n_classes=len(spec.labels),
            covariates=_one_hot(codes, spec.covariates, names),
            child_matrix=subtypes(spec.labels),
            reference=self,
            features=spec.features,
            n_learned=n_learned,
        )


@dataclass(frozen=True)
class CorpusData(TrainingData):
    """Training and validation cells of a corpus, in this order."""

    reference: CorpusReference = field(repr=False)
    features: FeatureSpace = field(repr=False)
    """The genes of the model."""
    n_learned: int
    """Training cells of the corpus, whether they are learned from or not."""

    @property
    def origin(self) -> dict[str, Any]:
        """Identity of the corpus and of the part."""
        part = self.reference
        return {"corpus": {"sha256": part.corpus.sha256, "fraction": part.fraction, "fraction_by": part.fraction_by}}

    @property
    def _identity_of_counts(self) -> dict[str, Any]:
        return {}  # the hash of a corpus covers them

    def split(self, settings: CommonSettings) -> Split:
        """The splits of the corpus; with a `train_size` of 1, validation cells are learned too."""
        labeled = np.flatnonzero(self.labels >= 0)
        if self.reference.validates_apart:
            labels, donors = self.labels[: self.n_learned], None if self.donors is None else self.donors[: self.n_learned]
            by = settings.validation_split
            return split_cells(labels, donors, train_size=settings.train_size, by=by, rng=settings.split_rng)
        if settings.train_size >= 1:
            return Split(train=labeled, validation=labeled[:0], by="none")
        is_learned = labeled < self.n_learned
        has_validation = not is_learned.all()
        return Split(train=labeled[is_learned], validation=labeled[~is_learned], by="corpus" if has_validation else "none")

    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches from the store."""

        def of(cells: NDArray[np.int64], shuffle: int | None) -> StreamedBatches:
            return StreamedBatches(self._loader, self._aligned, cells, self.labels, self.covariates, batch_size, seed=shuffle)

        return CountsDataModule(split, of(split.train, seed), of(split.validation, None))

    def read(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The counts of all cells, in order."""
        for matrix in self._matrices():
            reader = RowReader(matrix)
            for start, stop in row_ranges(matrix, size):
                yield self._aligned(reader.read(start, stop))

    def rows(self, cells: NDArray[np.int64]) -> sparse.csr_matrix:
        """The counts of some cells."""
        return self._aligned(self._random_access.rows(cells))

    def donor_differences(self, split: Split, normalization: Normalization, seed: int) -> sparse.csr_matrix:
        """As those of any data; they are computed once and kept in the corpus, where it can be written to."""
        how = (donor_differences.__kwdefaults__ or {}) | {"seed": seed} | asdict(normalization)
        key = json.dumps([how, self.origin, self.features.names, len(split.train)], sort_keys=True)
        path = self.reference.corpus.path / _DERIVED / f"augmentation_{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
        if (kept := _read_kept(path, len(self.features))) is not None:
            return kept
        found = super().donor_differences(split, normalization, seed)
        arrays = {"indptr": found.indptr, "indices": found.indices, "data": found.data}
        with suppress(OutputError), written_beside(path, overwrite=True) as beside:  # the corpus may be read-only
            beside.write_bytes(dump_arrays(arrays))
        return found

    def _matrices(self) -> list[Any]:
        return [matrix for split in (LEARNED, VALIDATED) for matrix in self.reference.corpus.matrices(split)]

    def _loader(self) -> RowLoader:
        return RowLoader(self._matrices())

    @cached_property
    def _random_access(self) -> RowLoader:
        return self._loader()

    @cached_property
    def _match(self) -> Any:
        corpus = self.reference.corpus
        return None if self.features == corpus.features else self.features.match(corpus.var)

    def _aligned(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        return block if self._match is None else self._match.align(block)


def _one_hot(codes: pd.DataFrame, covariates: Sequence[Covariate], names: Mapping[str, Sequence[str]]) -> sparse.csr_matrix:
    """One column per category, 1 for the cells that are of it: float32, `(n_obs, n_categories)`."""
    parts = [sparse.csr_matrix((len(codes), 0), dtype=np.float32)]
    for covariate in covariates:
        if covariate.key not in codes:  # a model that is resumed may look at more than a corpus knows
            parts.append(sparse.csr_matrix((len(codes), len(covariate.categories)), dtype=np.float32))
            continue
        of_model = np.append(pd.Index(covariate.categories).get_indexer(pd.Index(names[covariate.key])), -1)
        found = of_model[codes[covariate.key].to_numpy()]
        cells = np.flatnonzero(found >= 0)
        ones = np.ones(len(cells), dtype=np.float32)
        parts.append(sparse.csr_matrix((ones, (cells, found[cells])), shape=(len(codes), len(covariate.categories))))
    return sparse.csr_matrix(sparse.hstack(parts, format="csr"))


def _read_kept(path: Path, n_vars: int) -> sparse.csr_matrix | None:
    """Stored differences, `(n_differences, n_vars)`; `None` if missing or damaged, so that they are computed again."""
    with suppress(OSError, SafetensorError, KeyError, ValueError):
        arrays = load_file(path)
        kept = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(len(arrays["indptr"]) - 1, n_vars))
        kept.check_format()
        return kept
    return None
