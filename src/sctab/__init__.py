"""Cell type annotation of single-cell RNA-seq data with per-cell confidence."""

from importlib.metadata import version

from sctab import _caches, _lazy  # noqa: F401 - the first acts when it is imported

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = version("sctab")
