"""Compare models and other programs on declared tasks, so that a claim comes from numbers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
