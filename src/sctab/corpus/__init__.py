"""Corpora of many files: which cells, over which genes, in which split, and a store to train from."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
