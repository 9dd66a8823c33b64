from . import _published as _published, _published_files as _published_files, _published_runs as _published_runs
from ._load import load as load
from ._packaged import (
    ModelListing as ModelListing,
    list_models as list_models,
    load_predictor as load_predictor,
    packaged_path as packaged_path,
)
from ._published import import_checkpoint as import_checkpoint

__all__ = ["import_checkpoint", "list_models", "load", "packaged_path"]
