"""Colours and panels of figures of a benchmark."""

import pandas as pd

from sctab.pl._panels import assign_colours, draw_panels


def test_labels_of_one_model_have_shades_of_its_colour():
    table = pd.DataFrame({"model": ["linear", "mlp", "wide", "mlp"], "family": ["linear", "mlp", "mlp", "mlp"]})
    colours = assign_colours(table)
    assert len(set(colours.values())) == 3
    assert sum(colours["wide"]) > sum(colours["mlp"])


def test_a_panel_per_group_in_rows():
    table = pd.DataFrame({"task": ["one", "two", "one", "three"], "value": [1, 2, 3, 4]})
    figure = draw_panels(table, "task", lambda ax, rows: ax.set_xlabel(str(rows["value"].tolist())), n_columns=2)
    assert [(ax.get_title(), ax.get_xlabel()) for ax in figure.axes if ax.get_visible()] == [
        ("one", "[1, 3]"),
        ("two", "[2]"),
        ("three", "[4]"),
    ]
