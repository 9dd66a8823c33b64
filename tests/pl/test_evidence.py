"""The dot plot of genes that speak for types."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from sctab import SettingError, pl


def table(n_types=3, n_genes=2):
    rng = np.random.default_rng(0)
    names = [f"type {number}" for number in range(n_types)]
    rows = [
        (name, rank, f"G{number}{rank}", other, 10 + at, rng.random(), rng.random())
        for number, name in enumerate(names)
        for rank in range(1, n_genes + 1)
        for at, other in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["type", "rank", "gene", "group", "cells", "mean", "expressed"])


def dots(figure):
    return next(each for each in figure.axes[0].collections if isinstance(each, PathCollection))


def test_a_dot_for_each_gene_and_type():
    evidence = table()
    figure = pl.evidence(evidence)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["G01", "G02", "G11", "G12", "G21", "G22"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["type 0 (10)  1", "type 1 (11)  2", "type 2 (12)  3"]
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]
    np.testing.assert_allclose(dots(figure).get_sizes(), np.maximum(evidence["expressed"] * 95, 0.3))
    rings = dots(figure).get_linewidths()
    assert (np.asarray(rings) > 0.5).tolist() == (evidence["type"] == evidence["group"]).tolist()


def test_colours_go_from_the_least_to_the_most_of_a_gene():
    evidence = table(n_types=2, n_genes=1).assign(mean=[3.0, 1.0, 5.0, 5.0])
    colours = dots(pl.evidence(evidence)).get_facecolor()
    darkness = 3 - colours[:, :3].sum(axis=1)
    assert darkness[0] > darkness[1]
    assert darkness[2] == darkness[3] == darkness[0], "the same everywhere"


def test_sixty_types_are_sixty_columns():
    figure = pl.evidence(table(n_types=60, n_genes=4))
    figure.canvas.draw()
    assert len(figure.axes[0].get_xticklabels()) == 60
    assert len(pl.evidence(table(n_types=3, n_genes=9)).axes[0].get_xticklabels()) == 12
    assert len(pl.evidence(table(n_types=3, n_genes=9), n_genes=5).axes[0].get_xticklabels()) == 15


def test_errors():
    with pytest.raises(SettingError, match="n_genes=0"):
        pl.evidence(table(), n_genes=0)
    with pytest.raises(SettingError, match="nothing to draw"):
        pl.evidence(table().head(0))
