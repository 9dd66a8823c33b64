"""Getters: results as tidy tables."""

from sctab.get._augmentation import augmentation
from sctab.get._evaluation import evaluation
from sctab.get._explanation import explanation
from sctab.get._probabilities import probabilities
from sctab.get._training import training

__all__ = ["augmentation", "evaluation", "explanation", "probabilities", "training"]
