from . import _annotate_files as _annotate_files
from ._annotate import annotate as annotate
from ._annotate_files import AnnotatedFiles as AnnotatedFiles, annotate_files as annotate_files
from ._cluster import cluster as cluster
from ._consensus import consensus as consensus
from ._evaluate import evaluate as evaluate
from ._explain import explain as explain
from ._review import review as review
from ._targets import is_folder as is_folder
from ._variance import explained_variance as explained_variance
from ._vote import vote as vote

__all__ = [
    "annotate",
    "annotate_files",
    "cluster",
    "consensus",
    "evaluate",
    "explain",
    "explained_variance",
    "review",
    "vote",
]
