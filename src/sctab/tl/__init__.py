"""Tools: cell types for the cells of an AnnData."""

from sctab.tl._annotate import annotate
from sctab.tl._annotate_files import AnnotatedFiles, annotate_files
from sctab.tl._evaluate import evaluate
from sctab.tl._explain import explain
from sctab.tl._variance import explained_variance

__all__ = ["AnnotatedFiles", "annotate", "annotate_files", "evaluate", "explain", "explained_variance"]
