"""Plots of results, one function per table that `sctab.get` gives."""

from sctab.pl._training import training

__all__ = ["training"]
