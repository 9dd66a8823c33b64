from ._packaged import ModelListing as ModelListing
from ._packaged import list_models as list_models
from ._packaged import load as load
from ._packaged import packaged_path as packaged_path
from ._published import import_checkpoint as import_checkpoint
