"""Settings of a model class that do best on donors that it has not seen."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
