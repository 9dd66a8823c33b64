"""Tools: cell types for the cells of an AnnData."""

from sctab.tl._annotate import annotate

__all__ = ["annotate"]
