"""A notebook shows the figures of `pl`, whatever was drawn before."""

from io import BytesIO

from IPython.core.formatters import DisplayFormatter
from PIL import Image
from tests.annotated import annotated

import sctab
from sctab.pl._figures import ShownFigure


def test_a_notebook_gets_a_picture():
    data, _ = DisplayFormatter().format(sctab.pl.ontology(annotated()))
    with Image.open(BytesIO(data["image/png"])) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100


def test_all_of_the_figure_is_in_the_picture():
    figure = ShownFigure(figsize=(2, 1))
    figure.text(1.5, 0.5, "beside it")
    data, _ = DisplayFormatter().format(figure)
    with Image.open(BytesIO(data["image/png"])) as picture:
        assert picture.width > picture.height
