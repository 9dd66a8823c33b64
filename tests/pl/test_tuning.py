"""Pictures of a tuning study."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from sctab import SettingError
from sctab.pl._tuning import tuning_history, tuning_importance


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture
def trials():
    return pd.DataFrame(
        {
            "state": ["complete", "complete", "pruned", "complete"],
            "value": [0.7, 0.6, np.nan, 0.8],
            "best": [0.7, 0.7, 0.7, 0.8],
            "is_default": [True, False, False, False],
        }
    )


def points(ax, label):
    """Where the points of one kind are."""
    (found,) = [each for each in ax.collections if each.get_label() == label]
    return found.get_offsets().tolist()


def test_history_shows_every_trial(trials):
    ax = tuning_history(trials)
    assert points(ax, "Default") == [[0, 0.7]]
    assert points(ax, "Trial") == [[1, 0.6], [3, 0.8]]
    assert [x for x, _ in points(ax, "Ended early")] == [2]
    (best,) = [line for line in ax.lines if line.get_label() == "Best so far"]
    assert best.get_ydata().tolist() == [0.7, 0.7, 0.7, 0.8]


def test_history_of_a_study_without_pruned_trials(trials):
    ax = tuning_history(trials[trials["state"] == "complete"])
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"Trial", "Default", "Best so far"}


def test_importance_has_the_most_important_on_top():
    table = pd.DataFrame({"setting": ["dropout", "n_hidden", "l1"], "importance": [0.2, 0.7, 0.1]})
    ax = tuning_importance(table)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["l1", "dropout", "n_hidden"]
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.2, 0.7]
    assert [text.get_text() for text in ax.texts] == ["0.10", "0.20", "0.70"]


def test_importance_of_a_study_that_knows_none():
    with pytest.raises(SettingError, match="`importance` has no rows: complete trials are too few or all equally good"):
        tuning_importance(pd.DataFrame({"setting": [], "importance": []}))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("draw", ["history", "importance"])
def test_axes_that_are_given_are_drawn_on(draw, trials):
    _, ax = plt.subplots()
    if draw == "history":
        assert tuning_history(trials, ax=ax) is ax
    else:
        assert tuning_importance(pd.DataFrame({"setting": ["l1"], "importance": [1.0]}), ax=ax) is ax
    assert len(plt.get_fignums()) == 1
