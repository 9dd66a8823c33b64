"""Figures of reliability, abstention, promised terms and unseen types, by what stands on them."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.collections import PathCollection

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


@pytest.fixture
def curve():
    rows = [("shared", 0.95, 10, 0.25, 0.0), ("shared", 0.8, 30, 0.75, 0.1), ("shared", 0.3, 40, 1.0, 0.2)]
    return pd.DataFrame([*rows, ("corrected", 0.3, 40, 1.0, 0.1)], columns=["level", "threshold", "cells", "answered", "error"])


@pytest.fixture
def reports():
    rows = [
        ("known types", "", True, 30, 0.1, 0.2, 0.5, 0.8, 0.9, 0.02),
        ("unknown types", "", False, 15, 0.001, 0.001, 0.004, 0.02, 0.2, 0.7),
        ("type", "B cell", True, 10, 0.1, 0.2, 0.6, 0.8, 0.9, 0.0),
        ("type", "T cell", True, 20, 0.1, 0.2, 0.5, 0.8, 0.9, 0.03),
        ("type", "neuron", False, 15, 0.001, 0.001, 0.004, 0.02, 0.2, 0.7),
    ]
    columns = ["over", "name", "is_known", "cells", "lowest", "low", "median", "high", "highest", "reported"]
    return pd.DataFrame(rows, columns=columns)


def test_abstention_by_hand(curve):
    above, below = pl.abstention(curve).axes
    assert [line.get_ydata()[0] for line in above.lines if line.get_linestyle() == "--"] == [0.2]
    (errors,) = (line for line in above.lines if line.get_linestyle() != "--")
    assert errors.get_xydata().tolist() == [[0.25, 0.0], [0.75, 0.1], [1.0, 0.2]]
    assert below.lines[0].get_xydata().tolist() == [[0.25, 0.95], [0.75, 0.8], [1.0, 0.3]]
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == ("Wrong labels", "Confidence", "Cells with a label")
    (errors,) = (line for line in pl.abstention(curve, level="corrected").axes[0].lines if line.get_linestyle() != "--")
    assert errors.get_xydata().tolist() == [[1.0, 0.1]]


def test_no_wrong_label_at_all(curve):
    assert pl.abstention(curve.assign(error=0.0)).axes[0].get_ylim()[1] > 0


def test_unseen_types_come_first_in_another_colour(reports):
    values, reported = pl.unseen(reports).axes
    assert [label.get_text() for label in values.get_yticklabels()] == ["neuron (15)", "T cell (20)", "B cell (10)"]
    assert values.yaxis_inverted()
    assert values.get_xscale() == "log"
    dots = [each for each in values.collections if isinstance(each, PathCollection)]
    points = [tuple(point) for each in dots for point in each.get_offsets().tolist()]
    assert sorted(points) == [(0.004, 0), (0.5, 1), (0.6, 2)]
    assert [(bar.get_y() + 0.35, bar.get_width()) for bar in reported.patches] == [
        (pytest.approx(1), 0.03),
        (pytest.approx(2), 0.0),
        (pytest.approx(0), 0.7),
    ]
    colours = {tuple(bar.get_facecolor()) for bar in reported.patches}
    assert len(colours) == 2
    only = pl.unseen(reports[reports["is_known"]])
    assert [text.get_text() for text in only.legends[0].get_texts()] == ["known to the model"]


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
def test_what_is_drawn_differs_from_the_paper(bins, terms, curve, reports, style):
    with plt.style.context(style):
        drawn = [pl.reliability(bins), pl.promise(terms), pl.abstention(curve), pl.unseen(reports)]
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


def test_refusals(bins, terms, curve, reports):
    with pytest.raises(SettingError, match="`level='fine'` is not in the evaluation. Available: `shared`, `corrected`"):
        pl.abstention(curve, level="fine")
    with pytest.raises(SettingError, match="`level='fine'` is not in the evaluation. Available: `shared`, `corrected`"):
        pl.reliability(bins, level="fine")
    with pytest.raises(SettingError, match="`over='donor'` is not in the evaluation. Call `sctab.tl.evaluate` with `donor_key`"):
        pl.promise(terms[terms["over"] != "donor"], over="donor")
    for draw in (pl.reliability, pl.promise, pl.abstention, pl.unseen):
        with pytest.raises(KeyNotFoundError, match="tl.evaluate"):
            draw(AnnData(np.ones((1, 1))))
    for draw in (pl.reliability, pl.promise, pl.abstention, pl.unseen, pl.confusion, pl.type_scores):
        for other, said in ((pd.DataFrame(), "`DataFrame` without its columns"), ([1], "`list`"), (terms[["name"]], "`DataFrame`")):
            with pytest.raises(SettingError, match=rf"`evaluation` must be an AnnData, or the table .* and is a {said}"):
                draw(other)
    for draw, table in ((pl.reliability, bins), (pl.promise, terms), (pl.abstention, curve), (pl.unseen, reports)):
        with pytest.raises(SettingError, match="`evaluation` has no rows"):
            draw(table.iloc[:0])
    p_values = ["lowest", "low", "median", "high", "highest"]
    with pytest.raises(SettingError, match="No cell that was scored has a p-value"):
        pl.unseen(reports.assign(**dict.fromkeys(p_values, np.nan)))
