"""Figures as vector graphics inside of a page, whose lines and letters have the colour of its text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

_INK = "#010203"
"""Colour that no figure has, in place of the colour of the text."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sctab",
    "font.family": "sans-serif",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.dpi": 140,
    "figure.dpi": 140,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
}
_TAG = re.compile(r"<[^<>]*>")


def as_svg(draw: Callable[[], Figure], name: str, description: str) -> Markup:
    """Draw a figure as SVG for a page.

    Parameters
    ----------
    draw
        Draws it.
    name
        Unique in the page: the first part of all ids in the graphic.
    description
        Text for readers who do not see it.
    """
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # browsers have fonts for it
        figure, text = draw(), io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    width = figure.get_size_inches()[0] * 96
    svg = text.getvalue()
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = _TAG.sub(lambda tag: _page_tag(tag[0], name), svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    opening = (
        f'<svg class="drawing" style="width:{width:.0f}px;--width:{width:.0f}px" role="img" aria-label="{escape(description)}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size[0] if size else ""}>'
    )
    return Markup(opening + svg[svg.index(">") + 1 :])  # noqa: S704 - of matplotlib, which escapes what it writes


def _page_tag(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'(\bhref="#|url\(#)', rf"\g<1>{name}-", tag)
    return tag.replace(_INK, "currentColor")
