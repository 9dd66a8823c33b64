"""Figures of a benchmark: what is drawn is what the table says."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from sctab import SettingError
from sctab.pl import _benchmark as pl

MODELS = {"linear": "linear", "mlp": "mlp", "wide": "mlp"}
TASKS = ("one", "two")


def row(task, model, seed, metric, value, **more):
    sizes = {"linear": 100.0, "mlp": 1000.0, "wide": 5000.0}
    of_run = {
        "task": task,
        "model": model,
        "family": MODELS[model],
        "kind": "model",
        "seed": seed,
        "subset": "donor",
        "fraction": 1.0,
    }
    measured = {"n_parameters": sizes[model], "n_reference": 500.0, "n_donors": 10.0}
    return of_run | measured | {"metric": metric, "group": "", "value": value} | more


@pytest.fixture
def scores():
    rows = []
    for task in TASKS:
        for i, model in enumerate(MODELS):
            for seed in (0, 1):
                value = 0.7 + 0.1 * i + 0.02 * seed
                rows += [row(task, model, seed, "macro_f1", value)]
                rows += [row(task, model, seed, "macro_f1", value - 0.2, fraction=0.5, n_donors=5.0, n_reference=250.0)]
                rows += [row(task, model, seed, "macro_f1", value, group=f"donor_id={donor}") for donor in ("x", "y")]
                for name, cells in (("B cell", 30.0), ("T cell", 400.0), ("monocyte", 31.0)):
                    rows += [row(task, model, seed, "f1", value, group=f"type={name}")]
                    rows += [row(task, model, seed, "n_reference_cells", cells, group=f"type={name}")]
    return pd.DataFrame(rows)


@pytest.fixture
def curves():
    found = [
        row(task, model, seed, "", epoch + seed, epoch=float(epoch), curve=curve)
        for task in TASKS
        for model in ("linear", "mlp")
        for seed in (0, 1)
        for epoch in range(3)
        for curve in ("validation_loss", "validation_macro_f1", "learning_rate")
    ]
    return pd.DataFrame(found)


def test_models(scores, tmp_path):
    figure = pl.benchmark_models(scores)
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["linear", "mlp", "wide"]
    means = [
        dots.get_offsets()[0, 0] for dots in ax.collections if isinstance(dots, PathCollection) and len(dots.get_offsets()) == 1
    ]
    assert means == pytest.approx([0.71, 0.81, 0.91])
    figure.savefig(tmp_path / "models.svg")
    assert (tmp_path / "models.svg").stat().st_size > 1000


def test_groups(scores):
    figure = pl.benchmark_groups(scores)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["x", "y"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["linear", "mlp", "wide"]


def test_types_have_names_that_do_not_lie_on_each_other(scores):
    figure = pl.benchmark_types(scores, model="mlp")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert {tuple(point) for point in np.round(ax.collections[0].get_offsets(), 3)} == {(30, 0.81), (400, 0.81), (31, 0.81)}
    assert {text.get_text() for text in ax.texts} == {"B cell", "T cell", "monocyte"}
    extents = [Text.get_window_extent(text) for text in ax.texts]  # without the line to the point
    boxes = sorted((extent.y0, extent.y1) for extent in extents)
    assert all(lower[1] <= upper[0] + 1 for lower, upper in itertools.pairwise(boxes))


def test_curves(curves):
    figure = pl.benchmark_curves(curves)
    assert [ax.get_ylabel() for ax in figure.axes] == ["Validation loss"] * 2 + ["Validation macro F1"] * 2
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"] * 2
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert line.get_ydata().tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(("by", "sizes"), [("donor", [5, 10]), ("cell", [250, 500])])
def test_scaling(scores, by, sizes):
    figure = pl.benchmark_scaling(scores.assign(subset=by), by=by)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == sizes
    assert line.get_ydata().tolist() == pytest.approx([0.51, 0.71])


def test_sizes_of_models_that_have_several(scores):
    figure = pl.benchmark_sizes(scores)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mlp"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1000, 5000]
    same_size = pl.benchmark_sizes(pd.concat([scores, scores[scores["model"] == "wide"].assign(model="other", value=0.5)]))
    assert same_size.axes[0].lines[0].get_xydata().tolist() == [
        [1000, pytest.approx(0.81)],
        [5000, 0.5],
        [5000, pytest.approx(0.91)],
    ]


def test_confusion():
    counts = [("B", "B", 6), ("B", "T", 2), ("T", "T", 3), ("T", "other", 1)]
    table = pd.DataFrame([row("one", "mlp", 0, "", 0, truth=t, predicted=p, cells=n) for t, p, n in counts])
    ax = pl.benchmark_confusion(table, model="mlp").axes[0]
    assert ax.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25]]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["B", "T", "other"]


def test_a_label_has_one_colour_in_all_panels(scores, curves):
    def legends(figure):
        found = [zip(*ax.get_legend_handles_labels()[::-1], strict=True) for ax in figure.axes]
        return [{label: to_hex(getattr(handle, "lines", [handle])[0].get_color()) for label, handle in pairs} for pairs in found]

    networks = scores["model"] != "linear"
    without = scores[networks & ((scores["task"] != "one") | (scores["model"] != "mlp"))]  # the first of its kind lacks one task
    one, two = legends(pl.benchmark_scaling(without))
    assert set(one) == {"wide"}
    assert set(two) == {"mlp", "wide"}
    assert one.items() < two.items()
    one, two = (
        [dots for dots in ax.collections if isinstance(dots, PathCollection)][1] for ax in pl.benchmark_models(without).axes
    )
    assert one.get_offsets()[0].tolist() == two.get_offsets()[0].tolist()  # the mean of `wide`
    assert one.get_facecolor().tolist() == two.get_facecolor().tolist()
    curves = pd.concat([curves, curves[curves["model"] == "mlp"].assign(model="wide")])
    one, two = legends(
        pl.benchmark_curves(curves[(curves["task"] != "one") | (curves["model"] != "mlp")], shown=["validation_loss"])
    )
    assert one["wide"] == two["wide"] != two["mlp"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda scores: pl.benchmark_models(scores, metric="auc"),
        lambda scores: pl.benchmark_models(scores[scores["fraction"] < 1]),
        lambda scores: pl.benchmark_groups(scores[scores["group"] == ""]),
        lambda scores: pl.benchmark_types(scores, model="forest"),
        lambda scores: pl.benchmark_scaling(scores, by="cell"),
        lambda scores: pl.benchmark_sizes(scores[scores["model"] != "wide"]),
        lambda scores: pl.benchmark_curves(scores.assign(curve="train_loss")),
        lambda scores: pl.benchmark_confusion(scores, model="forest"),
    ],
)
def test_there_must_be_something_to_draw(scores, draw):
    with pytest.raises(SettingError, match="nothing to draw"):
        draw(scores)
