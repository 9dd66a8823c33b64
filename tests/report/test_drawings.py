"""Figures as SVG for a page."""

import matplotlib as mpl
from matplotlib.figure import Figure

from sctab.report._drawings import as_svg


def draw():
    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], label="a")
    ax.set_title("<b> & 'x'")
    return figure


def test_letters_have_the_colour_of_the_page():
    before = dict(mpl.rcParams)
    svg = as_svg(draw, "one", 'a "picture"')
    assert dict(mpl.rcParams) == before
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "&lt;b&gt; &amp; 'x'" in svg
    assert 'aria-label="a &#34;picture&#34;"' in svg
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")


def test_ids_of_two_drawings_differ():
    one, two = as_svg(draw, "one", ""), as_svg(draw, "two", "")
    assert one.replace("one-", "two-") == two
    assert 'id="one-' in one
    assert 'href="#one-' in one or "url(#one-" in one


def test_the_same_figure_is_the_same_drawing():
    assert as_svg(draw, "one", "") == as_svg(draw, "one", "")
