"""Corpora of many files: which cells, over which genes, in which split, and a store to train from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
