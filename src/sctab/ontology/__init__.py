"""Cell Ontology: from cell type names to terms, and from terms to what they are kinds of."""

from sctab import _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
