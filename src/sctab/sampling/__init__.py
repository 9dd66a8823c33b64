"""Choosing cells: which to learn from, which to validate on, and which to keep of many."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
