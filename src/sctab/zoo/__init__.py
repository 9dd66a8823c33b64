"""Models that can be used by name."""

from sctab.zoo._packaged import ModelListing, list_models, load, packaged_path
from sctab.zoo._published import import_checkpoint

__all__ = ["ModelListing", "import_checkpoint", "list_models", "load", "packaged_path"]
