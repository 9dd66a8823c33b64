"""Bars of the types in each sample."""

import numpy as np
import pytest
from tests.annotated import annotated, sixty_names

from sctab import KeyNotFoundError, SettingError, get, pl


def test_bars_are_the_fractions():
    adata = annotated(n_without=4)
    table = get.composition(adata, "donor")
    (ax,) = pl.composition(adata, "donor").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a (12)", "b (12)"]
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(-1, 2)
    expected = table.pivot_table(index="type", columns="sample", values="fraction", sort=False)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    np.testing.assert_allclose(widths, expected.loc[names])
    np.testing.assert_allclose(widths.sum(axis=0), 1)
    assert names[-1] == "no label"


def test_rare_types_are_summed():
    names = sixty_names()
    adata = annotated(names=names, sizes=range(1, len(names) + 1))
    (ax,) = pl.composition(adata, "donor").axes
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(shown) == 20
    assert shown[-1] == f"other types ({len(names) - 19})"
    np.testing.assert_allclose(np.array([bar.get_width() for bar in ax.patches]).reshape(20, 2).sum(axis=0), 1)


def test_colours_are_those_of_the_map():
    adata = annotated()
    of_map = pl.annotation(adata, ["label"]).axes[0].get_legend()
    of_bars = pl.composition(adata, "donor").axes[0].get_legend()
    names = [text.get_text().split("  ")[1].rsplit(" (", 1)[0] for text in of_map.get_texts()]
    dots = {name: line.get_color() for name, line in zip(names, of_map.legend_handles, strict=True)}
    from matplotlib.colors import to_hex

    bars = {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(of_bars.get_texts(), of_bars.get_patches(), strict=True)
    }
    assert bars == dots


def test_errors():
    with pytest.raises(KeyNotFoundError, match="sample_key"):
        pl.composition(annotated())
    with pytest.raises(SettingError, match="n_types=0"):
        pl.composition(annotated(), "donor", n_types=0)
    with pytest.raises(SettingError, match="no cell with a sample"):
        pl.composition(get.composition(annotated(), "donor").head(0))
