"""From any object or file to the input of a model."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
