"""One HTML file on an annotation, for those who have to rely on it."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
