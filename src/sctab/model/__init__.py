"""Cell type classifiers in the manner of scvi-tools."""

from sctab.model._base import CellTypeClassifier
from sctab.model._loading import load_model, model_classes
from sctab.model._sctab import SCTAB
from sctab.model._spec import ModelSpec

__all__ = ["SCTAB", "CellTypeClassifier", "ModelSpec", "load_model", "model_classes"]
