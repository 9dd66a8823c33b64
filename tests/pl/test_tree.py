"""The tree of types with counts."""

import pytest
from matplotlib.collections import PathCollection
from tests.annotated import annotated, sixty_names

from sctab import SettingError, get, pl


def test_a_line_per_term():
    adata = annotated(names=("B cell", "naive B cell", "odd $"), sizes=(5, 3, 2))
    (ax,) = pl.ontology(adata).axes
    assert [text.get_text() for text in ax.texts] == ["B cell  8, 5 of them its own", "naive B cell  3", r"odd \$  2"]
    dots = [points for points in ax.collections if isinstance(points, PathCollection)]
    assert sum(len(points.get_offsets()) for points in dots) == 3


@pytest.mark.parametrize("n", [1, 3, 60])
def test_every_name_is_inside_the_figure(n):
    names = sixty_names(n)
    adata = annotated(names=names, sizes=range(1, len(names) + 1))
    figure = pl.ontology(adata)
    figure.canvas.draw()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x1 <= figure.bbox.width
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.height
    assert len(figure.axes[0].texts) == len(get.ontology(adata))


def test_no_type():
    with pytest.raises(SettingError, match="nothing to draw"):
        pl.ontology(annotated(sizes=(0, 0, 0, 0), n_without=2))
