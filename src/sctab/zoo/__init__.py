"""Models that can be used by name."""

from sctab.zoo._packaged import ModelListing, list_models, load, packaged_path

__all__ = ["ModelListing", "list_models", "load", "packaged_path"]
