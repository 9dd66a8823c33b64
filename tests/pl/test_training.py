"""Curves of a training."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from sctab import KeyNotFoundError, SettingError, get, pl, zoo


@pytest.fixture(autouse=True)
def _no_window():
    with mpl.rc_context():
        plt.switch_backend("Agg")
        yield
        plt.close("all")


@pytest.fixture
def table():
    """Two epochs of four metrics; the weights of the second were kept."""
    values = {
        "train_loss": (2.0, 1.0),
        "validation_loss": (3.0, 1.5),
        "validation_macro_f1": (0.25, 0.75),
        "learning_rate": (0.01, 0.001),
    }
    rows = [(name, epoch, values[name][epoch], epoch == 1) for name in sorted(values) for epoch in (0, 1)]
    return pd.DataFrame(rows, columns=["metric", "epoch", "value", "kept"])


def curves(ax):
    """Values of each curve of more than one value, and where dashed lines stand."""
    solid = {tuple(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "-"}
    dashed = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    return solid, dashed


def test_panels_show_the_values_and_the_kept_epoch(table):
    axes = pl.training(table)
    assert [ax.get_title() for ax in axes] == ["Loss", "Validation macro F1", "Learning rate"]
    assert [curves(ax) for ax in axes] == [
        ({(2.0, 1.0), (3.0, 1.5)}, [1]),
        ({(0.25, 0.75)}, [1]),
        ({(0.01, 0.001)}, [1]),
    ]
    assert {ax.get_xlabel() for ax in axes} == {"Epoch"}


def test_what_is_not_clear_from_the_title_is_in_the_legend(table):
    legends = [ax.get_legend() for ax in pl.training(table)]
    assert [text.get_text() for text in legends[0].get_texts()] == ["Train loss", "Validation loss", "Kept epoch"]
    assert legends[1:] == [None, None]


def test_training_and_validation_have_a_colour_each(table):
    losses, score, rate = pl.training(table)
    train, validation = (to_hex(line.get_color()) for line in losses.lines[:2])
    assert to_hex(score.lines[0].get_color()) == validation
    assert len({train, validation, to_hex(rate.lines[0].get_color())}) == 3


def test_metrics_choose_panels_and_their_order(table):
    axes = pl.training(table, metrics=["learning_rate", "validation_loss"])
    assert [ax.get_title() for ax in axes] == ["Learning rate", "Loss"]
    assert curves(axes[1])[0] == {(3.0, 1.5)}


def test_nothing_is_marked_where_it_is_not_known(table):
    axes = pl.training(table.assign(kept=False))
    assert [curves(ax)[1] for ax in axes] == [[], [], []]


def test_one_epoch_can_be_seen(table):
    axes = pl.training(table[table["epoch"] == 1])
    assert {line.get_marker() for ax in axes for line in ax.lines if line.get_linestyle() == "-"} == {"o"}


def test_own_axes_are_drawn_into(table):
    figure, own = plt.subplots(1, 3)
    assert pl.training(table, axes=list(own)) == list(own)
    assert plt.get_fignums() == [figure.number]


def test_a_model_directory_is_drawn_as_what_get_gives():
    path = zoo.packaged_path("pbmc")
    directly, from_table = pl.training(path), pl.training(get.training(path))
    assert [curves(ax) for ax in directly] == [curves(ax) for ax in from_table]


@pytest.fixture
def clustering():
    """Two epochs of pretraining, then two with clusters."""
    values = {
        "pretrain_loss": {0: 3.0, 1: 2.0},
        "train_loss": {2: 2.5, 3: 2.25},
        "zinb_loss": {2: 2.0, 3: 1.9},
        "cluster_loss": {2: 0.5, 3: 0.35},
        "changed": {2: 0.25, 3: 0.0},
        "nmi": {2: 0.5, 3: 0.75},
        "ari": {2: 0.25, 3: 0.625},
    }
    rows = [(name, epoch, value, epoch == 3) for name in values for epoch, value in values[name].items()]
    return pd.DataFrame(rows, columns=["metric", "epoch", "value", "kept"])


def test_a_clustering_has_panels_of_losses_changes_and_agreement(clustering):
    axes = pl.training(clustering)
    assert [ax.get_title() for ax in axes] == ["Loss", "Fraction of cells that changed", "Agreement with labels"]
    assert [curves(ax) for ax in axes] == [
        ({(3.0, 2.0), (2.5, 2.25), (2.0, 1.9), (0.5, 0.35)}, [1.5]),
        ({(0.25, 0.0)}, []),
        ({(0.5, 0.75), (0.25, 0.625)}, []),
    ]
    losses, _, agreement = ([text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else [] for ax in axes)
    assert losses == ["Cluster loss", "Pretrain loss", "Train loss", "ZINB loss", "End of pretraining"]
    assert agreement == ["ARI", "NMI"]
    assert len({to_hex(line.get_color()) for line in axes[0].lines}) == 5


def test_a_pretraining_alone_has_no_end(clustering):
    (ax,) = pl.training(clustering[clustering["metric"] == "pretrain_loss"])
    assert curves(ax) == ({(3.0, 2.0)}, [])


def test_settings_of_matplotlib_stay_as_they_are(table):
    before = dict(mpl.rcParams)
    pl.training(table)
    assert dict(mpl.rcParams) == before


def test_a_metric_that_was_not_logged(table):
    with pytest.raises(KeyNotFoundError, match=r"`elbo` was not logged in this training\. Metrics: `learning_rate`, `train_loss`"):
        pl.training(table, metrics=["elbo"])


def test_too_few_axes(table):
    _, ax = plt.subplots()
    with pytest.raises(SettingError, match=r"There are 1 `axes` for 3 panels: `Loss`, `Validation macro F1`, `Learning rate`\."):
        pl.training(table, axes=[ax])
