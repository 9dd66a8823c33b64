"""Figures of cells in the plane: what is in a panel, and that legends are beside it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.annotated import NAMES, annotated, sixty_names

from sctab import KeyNotFoundError, SettingError, get, pl


def entries(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_three_panels():
    adata = annotated(n_without=2)
    figure = pl.annotation(adata)
    axes = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in axes] == ["Label", "Confidence", "Unseen types"]
    assert entries(axes[0]) == [
        f"1  {NAMES[2]} (10)",
        "2  B cell (5)",
        f"3  {NAMES[1]} (3)",
        f"4  {NAMES[3]} (2)",
        "5  no label (2)",
    ]
    assert entries(axes[2]) == ["fits a label (18)", "reported (4)"]
    points = axes[0].collections[0].get_offsets()
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, adata.obsm["X_umap"].tolist()))


def test_points_have_the_colours_of_their_types():
    adata = annotated()
    adata.uns["sctab_label_colors"] = ["#010000", "#020000", "#030000", "#040000"]
    (ax,) = pl.annotation(adata, ["label"]).axes
    points = ax.collections[0]
    code = np.round(points.get_facecolor()[:, 0] * 255).astype(int) - 1
    where = {tuple(xy): number for xy, number in zip(points.get_offsets().tolist(), code, strict=True)}
    assert [where[tuple(xy)] for xy in adata.obsm["X_umap"].tolist()] == adata.obs["sctab_label"].cat.codes.tolist()


def test_without_a_test_there_is_no_panel():
    assert [ax.get_title(loc="left") for ax in pl.annotation(annotated(unseen=False)).axes][:2] == ["Label", "Confidence"]


@pytest.mark.parametrize("n", [1, 3, 60])
def test_legends_are_beside_the_cells(n):
    names = sixty_names(n)
    adata = annotated(names=names, sizes=[2] * n)
    figure = pl.annotation(adata)
    figure.canvas.draw()
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    width = figure.bbox.width
    for ax in panels:
        if ax.get_legend() is None:
            continue
        box = ax.get_legend().get_window_extent()
        assert box.x0 >= ax.bbox.x1 - 1
        assert box.x1 <= width + 1, "the legend is cut off"
        assert not any(box.overlaps(other.bbox) for other in panels)


def test_axes_of_the_caller():
    figure, axes = plt.subplots(1, 2)
    assert pl.annotation(annotated(), ["label", "donor"], ax=axes) is figure
    assert entries(axes[1]) == ["1  a (10)", "2  b (10)"]
    with pytest.raises(SettingError, match="`ax` must have 3 axes"):
        pl.annotation(annotated(), ax=axes)
    plt.close(figure)


def test_names_are_no_formulas():
    adata = annotated(names=("$x^$", "a <b>$ cell", "c", "d"))
    figure = pl.annotation(adata)
    figure.canvas.draw()
    assert isinstance(figure, Figure)


def test_cells_without_coordinates_are_left_out():
    adata = annotated()
    adata.obsm["X_umap"][0] = np.nan
    assert len(pl.annotation(adata, ["label"]).axes[0].collections[0].get_offsets()) == adata.n_obs - 1


def test_errors():
    adata = annotated()
    with pytest.raises(KeyNotFoundError, match="columns='nope'"):
        pl.annotation(adata, ["nope"])
    with pytest.raises(SettingError, match="nothing to draw"):
        pl.annotation(adata, [])
    with pytest.raises(SettingError, match=r"`panels='nope'` is not in the annotation"):
        pl.annotation(get.annotation(adata, basis="umap"), ["nope"])
    with pytest.raises(SettingError, match="`panels='x'` is not"):
        pl.annotation(get.annotation(adata))
