"""Getters: results as tidy tables."""

from sctab.get._training import training

__all__ = ["training"]
