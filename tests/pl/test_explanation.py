"""Genes of each type, drawn."""

import matplotlib as mpl
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from sctab import SettingError, pl

TYPES = (
    "B cell",
    "CD8-positive, alpha-beta memory T cell of the blood",
    "monocyte",
    "platelet",
    "hematopoietic multipotent progenitor cell",
)


@pytest.fixture
def table():
    """Five types, the last with one gene only; weights and fractions of expression differ everywhere."""
    rows = [
        (name, rank, f"ENSG{rank + i:011d}", 0.4 / rank / (i + 1), 1 - 0.3 * (rank - 1), 1000 * (i + 1))
        for i, name in enumerate(TYPES)
        for rank in (1, 2, 3)
        if rank == 1 or i < 4
    ]
    return pd.DataFrame(rows, columns=["type", "rank", "gene", "weight", "expressed", "cells"])


def bars(ax):
    """Name, length and colour of each bar from the top down."""
    names = [text.get_text() for text in ax.get_yticklabels()]
    found = sorted(ax.patches, key=lambda bar: bar.get_y())
    return [(name, bar.get_width(), to_hex(bar.get_facecolor())) for name, bar in zip(names, found, strict=True)]


def test_a_panel_per_type_and_a_bar_per_gene(table, tmp_path):
    figure = pl.explain(table)
    *panels, colours = (ax for ax in figure.axes if ax.get_visible())
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in panels]
    assert titles == [f"{name} ({i + 1},000)" for i, name in enumerate(TYPES)]
    for ax, name in zip(panels, TYPES, strict=True):
        rows = table[table["type"] == name]
        assert [bar[:2] for bar in bars(ax)] == list(zip(rows["gene"], rows["weight"], strict=True))
        assert ax.yaxis_inverted()
    assert colours.get_ylabel() == "Cells that express it"
    figure.savefig(tmp_path / "explanation.svg")
    assert (tmp_path / "explanation.svg").stat().st_size > 1000


def test_the_more_cells_express_a_gene_the_darker_it_is(table):
    darkness = [-sum(mpl.colors.to_rgb(colour)) for _, _, colour in bars(pl.explain(table).axes[0])]
    assert darkness == sorted(darkness, reverse=True)
    assert len(set(darkness)) == 3


def test_scale_is_shared_and_numbered_below_each_panel(table):
    figure = pl.explain(table, n_columns=3)
    figure.canvas.draw()
    panels = figure.axes[:-1]
    assert len({ax.get_xlim() for ax in panels}) == 1
    for ax in panels:
        assert next(text.get_text() for text in ax.get_xticklabels() if text.get_visible()) in {"0.0", "0.00"}


def test_panels_are_of_one_size_and_at_one_distance(table):
    """Also where one column has long names of genes and another has short ones."""
    table.loc[table["type"] == TYPES[1], "gene"] = "CD4"
    places = [ax.get_position() for ax in pl.explain(table, n_columns=3).axes[:5]]
    assert {round(place.width, 9) for place in places} == {round(places[0].width, 9)}
    assert places[1].x0 - places[0].x0 == pytest.approx(places[2].x0 - places[1].x0)
    assert [place.x0 for place in places[3:]] == pytest.approx([place.x0 for place in places[:2]])
    assert len({round(place.y0, 9) for place in places}) == 2


@pytest.mark.parametrize("n_columns", [1, 2, 5])
def test_nothing_lies_on_anything_else(table, n_columns):
    """Names of genes, titles and numbers, in one row and in several."""
    figure = pl.explain(table, n_columns=n_columns)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    bars_of_colour = figure.axes[-1].get_window_extent(renderer)
    boxes = [
        text.get_window_extent(renderer)
        for ax in figure.axes
        if ax.get_visible()
        for text in (*ax.get_yticklabels(), *ax.get_xticklabels(), ax._left_title, ax.yaxis.label)
        if text.get_visible() and text.get_text() and text.get_position()[0] <= ax.get_xlim()[1]
    ]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not [box for box in boxes if box.overlaps(bars_of_colour)]
    whole = figure.bbox
    assert all(box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1 for box in boxes)


def test_fewer_genes(table):
    panels = [ax for ax in pl.explain(table, n_top=2).axes[:-1] if ax.get_visible()]
    assert [len(bars(ax)) for ax in panels] == [2, 2, 2, 2, 1]


def test_senseless_settings(table):
    for name in ("n_top", "n_columns"):
        with pytest.raises(SettingError, match=f"`{name}=0` must be at least 1"):
            pl.explain(table, **{name: 0})
    with pytest.raises(SettingError, match="nothing to draw"):
        pl.explain(table[:0])


def test_only_the_table_is_drawn(table):
    mend = r".*Call `sctab\.tl\.explain\(adata\)`, then `sctab\.pl\.explain\(sctab\.get\.explanation\(adata\)\)`\.$"
    with pytest.raises(SettingError, match=rf"`sctab\.get\.explanation\(adata\)` gives, and is a `AnnData`\.{mend}"):
        pl.explain(AnnData())
    with pytest.raises(SettingError, match=rf"and is a `DataFrame` without its columns\.{mend}"):
        pl.explain(table.drop(columns="rank"))


def test_genes_that_few_cells_express_do_not_shorten_the_other_bars(table):
    shared = pd.DataFrame({"type": TYPES, "rank": 1, "gene": "XIST", "weight": 0.9, "expressed": 0.01, "cells": 1000})
    with_shared = pd.concat([shared, table.assign(rank=table["rank"] + 1)])
    figure, whole = pl.explain(with_shared), pl.explain(with_shared, min_expressed=0)
    for ax, name in zip(figure.axes, TYPES, strict=False):
        rows = table[table["type"] == name]
        assert [bar[:2] for bar in bars(ax)] == list(zip(rows["gene"], rows["weight"], strict=True))
        assert [text.get_text() for text in ax.texts] == ["1 not expressed"]
    assert figure.axes[0].get_xlim()[1] < 0.5 < whole.axes[0].get_xlim()[1]
    assert bars(whole.axes[0])[0][0] == "XIST"
    assert not whole.axes[0].texts
    assert [bar[0] for bar in bars(pl.explain(shared).axes[0])] == ["XIST"]  # a type without another gene has it


def test_symbols_are_in_italics_and_ids_are_not(table):
    rows = table[table["type"] == "B cell"].assign(gene=["CD79A", "ENSG00000105369", "HLA-DRA"])
    labels = pl.explain(rows).axes[0].get_yticklabels()
    assert [(label.get_text(), label.get_fontstyle()) for label in labels] == [
        ("CD79A", "italic"),
        ("ENSG00000105369", "normal"),
        ("HLA-DRA", "italic"),
    ]
