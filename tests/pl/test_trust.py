"""Figures of reliability and of promised terms, by what stands on them."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from sctab import KeyNotFoundError, SettingError, pl


@pytest.fixture
def bins():
    rows = [("shared", 0, 0.0, 0.5, np.nan, np.nan), ("shared", 30, 0.5, 0.75, 0.7, 0.5), ("shared", 70, 0.75, 1.0, 0.9, 0.95)]
    other = [("corrected", 10, 0.5, 0.75, 0.6, 0.6)]
    return pd.DataFrame(rows + other, columns=["level", "cells", "low", "high", "confidence", "accuracy"])


@pytest.fixture
def terms():
    rows = [
        ("all", "", 30, 0.12, 0.05, 0.2, 0.6, 0.1),
        ("mean over donors", "", 30, 0.1, 0.04, 0.3, 0.6, 0.1),
        ("donor", "d1", 30, 0.12, np.nan, np.nan, 0.6, 0.1),
        ("type", "B cell", 10, 0.0, np.nan, np.nan, 1.0, 0.0),
        ("type", "T cell", 20, 0.18, np.nan, np.nan, 0.4, 0.15),
    ]
    table = pd.DataFrame(rows, columns=["over", "name", "cells", "error", "low", "high", "leaf", "open"])
    return table.assign(accepted_error=0.1)


def test_reliability_by_hand(bins):
    above, below = pl.reliability(bins).axes
    assert above.collections[-1].get_offsets().tolist() == [[0.7, 0.5], [0.9, 0.95]]
    assert above.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert above.texts[0].get_text() == f"ECE {0.3 * 0.2 + 0.7 * 0.05:.3f}"
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    assert bars == [(0.5, 0.25, 30), (0.75, 0.25, 70)]
    assert (below.get_xlabel(), above.get_ylabel(), below.get_ylabel()) == ("Confidence", "Accuracy", "Cells")
    small, large = above.collections[-1].get_sizes()
    assert small < large
    (only,) = pl.reliability(bins, level="corrected").axes[0].collections[-1].get_offsets().tolist()
    assert only == [0.6, 0.6]


def test_errors_beside_the_accepted_one(terms):
    figure = pl.promise(terms)
    errors, answers = figure.axes
    assert [label.get_text() for label in errors.get_yticklabels()] == [
        "all cells (30)",
        "mean over donors (30)",
        "T cell (20)",
        "B cell (10)",
    ]
    assert errors.yaxis_inverted()
    points = next(points for points in errors.collections if len(points.get_offsets()) == 4)
    assert points.get_offsets()[:, 0].tolist() == [0.12, 0.1, 0.18, 0]
    over, kept = (points.get_facecolor()[i].tolist() for i in (0, 1))
    assert over != kept
    assert points.get_facecolor().tolist() == [over, kept, over, kept]
    assert [line.get_xdata() for line in errors.lines if line.get_linestyle() == "--"] == [[0.1, 0.1]]
    (intervals,) = (bars.lines[2][0].get_segments() for bars in errors.containers)
    np.testing.assert_allclose([[start[0], end[0]] for start, end in intervals[:2]], [[0.05, 0.2], [0.04, 0.3]])
    widths = np.array([bar.get_width() for bar in answers.patches]).reshape(3, 4)
    np.testing.assert_allclose(widths, [[0.6, 0.6, 0.4, 1], [0.3, 0.3, 0.45, 0], [0.1, 0.1, 0.15, 0]])
    np.testing.assert_allclose(widths.sum(axis=0), 1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "accepted error 0.1",
        "single label",
        "broader term",
        "left open",
    ]


def test_a_row_per_donor(terms):
    errors, _ = pl.promise(terms, over="donor").axes
    assert [label.get_text() for label in errors.get_yticklabels()][2:] == ["d1 (30)"]


def test_no_error_at_all(terms):
    errors, _ = pl.promise(terms.assign(error=0.0, low=0.0, high=0.0, accepted_error=0.001)).axes
    assert errors.get_xlim()[1] > 0.001


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_what_is_drawn_differs_from_the_paper(bins, terms, style):
    with plt.style.context(style):
        drawn = [pl.reliability(bins), pl.promise(terms)]
        paper = mpl.colors.to_rgb(mpl.rcParams["axes.facecolor"])
    for figure in drawn:
        for ax in figure.axes:
            for line in ax.lines:
                assert np.abs(np.subtract(mpl.colors.to_rgb(line.get_color()), paper)).max() > 0.4
            for patch in ax.patches:
                assert np.abs(np.subtract(patch.get_facecolor()[:3], paper)).max() > 0.4


def test_many_types_have_room():
    rows = [("type", f"type {i}", 5, 0.1, np.nan, np.nan, 0.5, 0.1) for i in range(60)]
    table = pd.DataFrame(
        [("all", "", 300, 0.1, np.nan, np.nan, 0.5, 0.1), *rows],
        columns=["over", "name", "cells", "error", "low", "high", "leaf", "open"],
    )
    figure = pl.promise(table.assign(accepted_error=0.2))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))


def test_refusals(bins, terms):
    with pytest.raises(SettingError, match="`level='fine'` is not in the evaluation. Available: `shared`, `corrected`"):
        pl.reliability(bins, level="fine")
    with pytest.raises(SettingError, match="`over='donor'` is not in the evaluation. Call `sctab.tl.evaluate` with `donor_key`"):
        pl.promise(terms[terms["over"] != "donor"], over="donor")
    for draw in (pl.reliability, pl.promise):
        with pytest.raises(KeyNotFoundError, match="tl.evaluate"):
            draw(AnnData(np.ones((1, 1))))
