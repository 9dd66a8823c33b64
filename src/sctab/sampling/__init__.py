"""Choosing cells: which to learn from, which to validate on, and which to keep of many."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
