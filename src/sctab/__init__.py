"""Cell type annotation of single-cell RNA-seq data that says how sure it is."""

from importlib.metadata import version

import lazy_loader

from sctab import _caches  # noqa: F401 - acts when it is imported

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("sctab")
