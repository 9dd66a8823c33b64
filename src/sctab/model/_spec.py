"""Everything that is needed to use a trained model, besides its weights."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from sctab._constants import FORMAT_NAME, FORMAT_VERSION
from sctab._errors import ModelFormatError
from sctab.counts import Normalization
from sctab.genes import FeatureSpace
from sctab.model._covariates import Covariate
from sctab.ontology import LabelSpace

NO_SETUP: Mapping[str, Any] = MappingProxyType(
    {
        "labels_key": None,
        "layer": None,
        "donor_key": None,
        "unlabeled_category": None,
        "categorical_covariate_keys": [],
        "gene_id_key": None,
        "gene_symbol_key": None,
    }
)
"""Arguments of `setup_anndata` that a model which was stored may not have."""
_LIBRARIES = ("sctab", "scvi-tools", "torch", "anndata", "numpy", "scipy")


@dataclass(frozen=True)
class ModelSpec:
    """What a model is: its class, its genes, its labels, how its input is normalised, and how it came about.

    It is what `model.json` stores.
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
    """One line on what the model is for."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `setup_anndata`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings and outcome of the training; empty before."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that it was trained with."""

    @property
    def n_inputs(self) -> int:
        """Columns of the network's input: one per gene, and behind them one per category of each covariate."""
        return len(self.features) + len(self.category_names)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the columns behind the genes, such as `tissue=lung`."""
        return tuple(f"{covariate.key}={category}" for covariate in self.covariates for category in covariate.categories)

    @property
    def summary(self) -> str:
        """One line on class, size and architecture."""
        architecture = ", ".join(f"{key}: {value}" for key, value in self.architecture.items())
        return f"{self.model_class} with {len(self.labels)} cell types and {len(self.features)} genes; {architecture}"

    def with_training(self, summary: Mapping[str, Any]) -> ModelSpec:
        """The same model, trained."""
        return replace(self, training=dict(summary), versions=library_versions())

    def to_registry(self) -> dict[str, Any]:
        """What scvi-tools is to know of a model without a reference."""
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
            "format_version": FORMAT_VERSION,
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
            "training": dict(self.training),
            "versions": dict(self.versions),
            "features": {
                "ids": list(self.features.ids),
                "symbols": list(self.features.symbols),
                "other_ids": {str(position): list(names) for position, names in self.features.other_ids.items()},
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ModelFormatError
            When the format is another one or a newer one, or when something is missing or of the wrong type.
        """
        if not isinstance(values, Mapping) or values.get("format") != FORMAT_NAME:
            raise ModelFormatError(f"`model.json` does not describe an sctab model: its `format` is not `{FORMAT_NAME}`.")
        if values.get("format_version") != FORMAT_VERSION:
            raise ModelFormatError(
                f"The model has format version {values.get('format_version')!r}; this version of sctab reads {FORMAT_VERSION}. "
                "Update sctab, or train and save the model again."
            )
        try:
            labels, features = values["labels"], values["features"]
            spec = cls(
                model_class=str(values["model_class"]),
                description=str(values["description"]),
                architecture=dict(values["architecture"]),
                features=FeatureSpace(
                    ids=_texts(features["ids"]),
                    symbols=_texts(features["symbols"]),
                    other_ids={int(position): _texts(names) for position, names in features["other_ids"].items()},
                ),
                labels=LabelSpace(
                    names=_texts(labels["names"]),
                    ids=tuple(None if term is None else str(term) for term in labels["ids"]),
                    ontology_version=str(labels["ontology_version"]),
                    notes=_texts(labels.get("notes", [])),
                ),
                normalization=Normalization(
                    target_sum=float(values["normalization"]["target_sum"]), log1p=bool(values["normalization"]["log1p"])
                ),
                covariates=tuple(
                    Covariate(str(entry["key"]), _texts(entry["categories"])) for entry in values.get("covariates", ())
                ),
                setup=dict(NO_SETUP) | dict(values["setup"]),
                training=dict(values["training"]),
                versions=dict(values["versions"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(
                f"`model.json` is incomplete or damaged ({type(error).__name__}: {error}). Copy the model again."
            ) from error
        if len(spec.labels.names) != len(spec.labels.ids):
            raise ModelFormatError("`model.json` is damaged: labels and ontology ids differ in number. Copy the model again.")
        return spec


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide what a model computes."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts was expected")
    return tuple(values)
