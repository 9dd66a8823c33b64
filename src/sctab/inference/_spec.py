"""Everything that is needed to use a trained model, besides its weights."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from sctab.data import Covariate, FeatureSpace, Normalization, ProteinPanel
from sctab.errors import ModelFormatError, listing
from sctab.inference._calibration import Calibration
from sctab.keys import FIRST_FORMAT_VERSION, FORMAT_NAME, FORMAT_VERSION, FORMAT_VERSIONS, FORMAT_WITH_PROTEINS
from sctab.ontology import LabelSpace

NO_SETUP: Mapping[str, Any] = MappingProxyType(
    {
        "labels_key": None,
        "layer": None,
        "donor_key": None,
        "dataset_key": None,
        "unlabeled_category": None,
        "categorical_covariate_keys": [],
        "gene_id_key": None,
        "gene_symbol_key": None,
    }
)
"""Arguments of `setup_anndata` that a model which was stored may not have."""
_WIDTHS = "encoder"
"""Setting of an architecture that is a list."""
CLUSTERING = "SCDeepCluster"
"""Model class whose labels are clusters."""
_LARGEST = 2.0**53
_SETUP_TYPES = {name: list if isinstance(value, list) else (str, type(None)) for name, value in NO_SETUP.items()}
_TERM = re.compile(r"CL:\d{7}")
_PARTS = {
    "format",
    "format_version",
    "model_class",
    "description",
    "architecture",
    "normalization",
    "labels",
    "covariates",
    "setup",
    "training",
    "versions",
    "features",
    "calibration",
    "reference",
    "proteins",
}
_LIBRARIES = ("sctab", "scvi-tools", "torch", "anndata", "numpy", "scipy")


@dataclass(frozen=True)
class ModelSpec:
    """Description of a model: class, genes, labels, normalisation and provenance.

    Stored as `model.json`.
    """

    model_class: str
    architecture: Mapping[str, Any]
    """Keyword arguments of the network."""
    features: FeatureSpace
    labels: LabelSpace
    normalization: Normalization
    covariates: tuple[Covariate, ...] = ()
    """Columns of `obs` that the model looks at besides the genes."""
    description: str = ""
    """One-line description of the model."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `setup_anndata`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings and outcome of the training; empty before."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that it was trained with."""
    calibration: Calibration | None = None
    """Temperature of its probabilities, learned from held-out cells."""
    proteins: ProteinPanel | None = None
    """Antibodies that the model looks at besides the genes."""

    @property
    def n_inputs(self) -> int:
        """Columns of the network's input: one per gene, those of the antibodies, then one per category of each covariate."""
        return len(self.features) + self.n_beside

    @property
    def n_beside(self) -> int:
        """Columns of the network's input after the genes."""
        return (0 if self.proteins is None else self.proteins.n_inputs) + len(self.category_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of genes, then of antibodies: the first columns of the network's input."""
        return (*self.features.names, *(() if self.proteins is None else self.proteins.input_names[:-1]))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of all columns of the network's input."""
        return (*self.features.names, *(() if self.proteins is None else self.proteins.input_names), *self.category_names)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the covariate columns, such as `tissue=lung`."""
        return tuple(f"{covariate.key}={category}" for covariate in self.covariates for category in covariate.categories)

    @property
    def is_clustering(self) -> bool:
        """True if the labels are clusters, which have no names of cell types."""
        return self.model_class == CLUSTERING

    @property
    def summary(self) -> str:
        """One line on class, size and architecture."""
        architecture = ", ".join(f"{key}: {value}" for key, value in self.architecture.items())
        labels = "clusters" if self.is_clustering else "cell types"
        features = f" and {len(self.features):,} genes"
        if self.proteins is not None:
            features = f", {len(self.features):,} genes and {len(self.proteins)} antibodies"
        return f"{self.model_class} with {len(self.labels)} {labels}{features}" + (f"; {architecture}" if architecture else "")

    def with_training(self, summary: Mapping[str, Any]) -> ModelSpec:
        """The same model, trained, and not calibrated yet."""
        return replace(self, training=dict(summary), versions=library_versions(), calibration=None)

    def to_registry(self) -> dict[str, Any]:
        """Registry for scvi-tools of a model without a reference."""
        return {
            "scvi_version": self.versions.get("scvi-tools", ""),
            "model_name": self.model_class,
            "setup_method_name": "setup_anndata",
            "setup_args": dict(self.setup),
            "field_registries": {},
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION if self.proteins is None else FORMAT_WITH_PROTEINS,
            "model_class": self.model_class,
            "description": self.description,
            "architecture": dict(self.architecture),
            "normalization": asdict(self.normalization),
            "labels": {
                "names": list(self.labels.names),
                "ids": list(self.labels.ids),
                "ontology_version": self.labels.ontology_version,
                "notes": list(self.labels.notes),
            },
            "covariates": [{"key": covariate.key, "categories": list(covariate.categories)} for covariate in self.covariates],
            "setup": dict(self.setup),
            "training": finite(dict(self.training)),
            "versions": dict(self.versions),
            "features": self.features.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            **({} if self.proteins is None else {"proteins": self.proteins.to_json()}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ModelFormatError
            If the format is another one or a newer one, or if something is missing or of the wrong type.
        """
        if not isinstance(values, Mapping) or values.get("format") != FORMAT_NAME:
            raise ModelFormatError(f"`model.json` does not describe an sctab model: its `format` is not `{FORMAT_NAME}`.")
        if (version := values.get("format_version")) not in FORMAT_VERSIONS or isinstance(version, bool):
            raise ModelFormatError(
                f"The model has format version {version!r}; this version of sctab reads {FIRST_FORMAT_VERSION} to {FORMAT_VERSIONS[-1]}. "
                "Update sctab, or train and save the model again."
            )
        try:
            _only(values, _PARTS, "model.json")
            return cls(
                model_class=_string(values["model_class"], "model_class"),
                description=_string(values["description"], "description", empty=True),
                architecture=_architecture(values["architecture"]),
                features=_features(values["features"]),
                labels=_labels(values["labels"]),
                normalization=_normalization(values["normalization"]),
                covariates=_covariates(values.get("covariates", [])),
                setup=_setup(values["setup"]),
                training=_training(
                    finite(values["training"]) if version == FIRST_FORMAT_VERSION else values["training"],
                    len(values["labels"]["names"]),
                ),
                versions={
                    name: _string(each, "versions", empty=True) for name, each in _object(values["versions"], "versions").items()
                },
                calibration=None
                if (found := values.get("calibration")) is None
                else Calibration.from_json(_object(found, "calibration")),
                proteins=None if (panel := values.get("proteins")) is None else ProteinPanel.from_json(_object(panel, "proteins")),
            )
        except (KeyError, TypeError, ValueError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ModelFormatError(f"`model.json` is incomplete or damaged: {why}. Copy the model again.") from error


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide what a model computes."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _architecture(values: Any) -> dict[str, Any]:
    for name, value in _object(values, "architecture").items():
        for each in value if name == _WIDTHS and isinstance(value, list) else [value]:
            if not isinstance(each, bool | int | float | str | None):
                raise TypeError(f"`architecture.{name}` is neither a number nor a string")
            if isinstance(each, int | float):
                _number(each, f"architecture.{name}", flag=True)
    return dict(values)


def _features(values: Any) -> FeatureSpace:
    _only(_object(values, "features"), {"ids", "symbols", "other_ids"}, "features")
    ids, symbols = _strings(values["ids"], "features.ids"), _strings(values["symbols"], "features.symbols")
    if not ids or len(ids) != len(symbols):
        raise ValueError(f"{len(ids)} ids and {len(symbols)} symbols of genes: there must be as many, and at least one")
    names = [gene_id or symbol for gene_id, symbol in zip(ids, symbols, strict=True)]
    if not all(names):
        raise ValueError(f"gene {names.index('')} has neither an id nor a symbol")
    _require_unique(names, "genes")
    others = {}
    for position, of_gene in _object(values["other_ids"], "features.other_ids").items():
        if not position.isdecimal() or str(int(position)) != position or int(position) >= len(ids):
            raise ValueError(f"`features.other_ids` has {position!r}, which is not the position of one of {len(ids)} genes")
        others[int(position)] = _strings(of_gene, "features.other_ids")
    return FeatureSpace(ids=ids, symbols=symbols, other_ids=others)


def _labels(values: Any) -> LabelSpace:
    _only(_object(values, "labels"), {"names", "ids", "ontology_version", "notes"}, "labels")
    names, terms = _strings(values["names"], "labels.names"), values["ids"]
    if not isinstance(terms, list) or not all(term is None or (isinstance(term, str) and _TERM.fullmatch(term)) for term in terms):
        raise ValueError("`labels.ids` must be Cell Ontology ids, such as `CL:0000236`, or null")
    if not names or len(names) != len(terms):
        raise ValueError(f"labels and ontology ids differ in number, {len(names)} and {len(terms)}, or there are none")
    if not all(name.strip() for name in names):
        raise ValueError("a label is empty")
    _require_unique((name.strip() for name in names), "labels")
    return LabelSpace(
        names=names,
        ids=tuple(terms),
        ontology_version=_string(values["ontology_version"], "labels.ontology_version", empty=True),
        notes=_strings(values.get("notes", []), "labels.notes"),
    )


def _normalization(values: Any) -> Normalization:
    _only(_object(values, "normalization"), {"target_sum", "log1p"}, "normalization")
    target_sum, log1p = _number(values["target_sum"], "normalization.target_sum"), values["log1p"]
    if target_sum <= 0:
        raise ValueError(f"`normalization.target_sum` is {target_sum}, and must be above 0")
    if not isinstance(log1p, bool):
        raise TypeError("`normalization.log1p` is neither true nor false")
    return Normalization(target_sum=float(target_sum), log1p=log1p)


def _covariates(values: Any) -> tuple[Covariate, ...]:
    if not isinstance(values, list):
        raise TypeError("`covariates` is not a list")
    found = []
    for entry in values:
        _only(_object(entry, "covariates"), {"key", "categories"}, "covariates")
        found.append(Covariate(_string(entry["key"], "covariates.key"), _strings(entry["categories"], "covariates.categories")))
        _require_unique(found[-1].categories, "categories of a covariate")
    _require_unique((covariate.key for covariate in found), "covariates")
    return tuple(found)


def _setup(values: Any) -> dict[str, Any]:
    setup = dict(NO_SETUP) | _object(values, "setup")
    for name, kind in _SETUP_TYPES.items():
        if not isinstance(setup[name], kind):
            raise TypeError(f"`setup.{name}` is of the wrong type")
    _strings(setup["categorical_covariate_keys"], "setup.categorical_covariate_keys")
    label_ids = _object(setup.get("label_ids", {}), "setup.label_ids")
    if not all(term is None or isinstance(term, str) for term in label_ids.values()):
        raise TypeError("`setup.label_ids` is of the wrong type")
    return setup


def _training(values: Any, n_labels: int) -> dict[str, Any]:
    for name in ("n_obs", "n_labeled", "n_donors"):
        _count(_object(values, "training").get(name, 0), f"training.{name}")
    per_label = values.get("cells_per_label")
    if per_label is not None:
        if not isinstance(per_label, list) or len(per_label) != n_labels:
            raise TypeError(f"`training.cells_per_label` is not a list of {n_labels} numbers")
        for count in per_label:
            _count(count, "training.cells_per_label")
    _object(values.get("settings", {}), "training.settings")
    if "corpus" in values:
        _string(_object(values["corpus"], "training.corpus").get("sha256"), "training.corpus.sha256")
    histories = _object(_object(values, "training").get("history", {}), "training.history")
    if histories:
        _number(values["epochs"], "training.epochs")
        if values["best_epoch"] is not None:
            _number(values["best_epoch"], "training.best_epoch")
    for name, history in histories.items():
        if not isinstance(history, list):
            raise TypeError(f"`training.history.{name}` is not a list")
        for value in history:
            if value is not None:
                _number(value, f"training.history.{name}")
    return dict(values)


def _object(values: Any, what: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"`{what}` is not an object")
    return values


def _only(values: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"`{what}` has unknown entries: {listing(unknown)}")


def _string(value: Any, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise TypeError(f"`{what}` is not a string{'' if empty else ', or is empty'}")
    return value


def _strings(values: Any, what: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"`{what}` is not a list of strings")
    return tuple(values)


def _number(value: Any, what: str, *, flag: bool = False) -> float:
    if not isinstance(value, int | float) or (isinstance(value, bool) and not flag):
        raise TypeError(f"`{what}` is not a number")
    if not abs(value) <= _LARGEST:  # NaN is not
        raise ValueError(f"`{what}` is not a finite number, or is out of bounds")
    return value


def _count(value: Any, what: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST):
        raise TypeError(f"`{what}` is not a number of something")


def _require_unique(names: Iterable[str], what: str) -> None:
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{what} occur twice: {listing(repeated)}")


def finite(values: Any) -> Any:
    """The same plain values, with null for numbers that are NaN or infinite, which JSON does not have."""
    match values:
        case float():
            return values if math.isfinite(values) else None
        case dict():
            return {name: finite(value) for name, value in values.items()}
        case list() | tuple():
            return [finite(value) for value in values]
    return values
