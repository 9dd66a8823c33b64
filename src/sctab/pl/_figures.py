"""Figures that a notebook shows."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that a notebook shows as a picture, even if pyplot, which teaches notebooks to do so, has drawn nothing yet."""

    def _repr_png_(self) -> bytes:
        """The picture as PNG."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=self.dpi, bbox_inches="tight")
        return picture.getvalue()
