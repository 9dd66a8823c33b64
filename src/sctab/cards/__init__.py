"""Cards of models: what was measured, what is declared, and what is missing."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
