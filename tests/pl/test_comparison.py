"""The heat map of two columns of labels."""

import numpy as np
import pandas as pd
import pytest
from tests.annotated import annotated, sixty_names

from sctab import KeyNotFoundError, SettingError, get, pl


def test_squares_are_the_fractions():
    adata = annotated()
    adata.obs["given"] = pd.Categorical(["lymphocyte"] * 8 + ["monocyte"] * 12)
    ax = pl.comparison(adata, "given").axes[0]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    columns = [label.get_text().rsplit(" (", 1)[0] for label in ax.get_xticklabels()]
    assert rows == ["lymphocyte (8)", "monocyte (12)"]
    table = get.comparison(adata, "given")
    shown = pd.DataFrame(np.asarray(ax.images[0].get_array()), index=["lymphocyte", "monocyte"], columns=columns)
    for row in table.itertuples():
        assert shown.loc[row.label, row.other] == pytest.approx(row.fraction)
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("given", "sctab_label")


@pytest.mark.parametrize("n", [1, 60])
def test_both_ways_in_one_order(n):
    names = sixty_names(n)
    adata = annotated(names=names, sizes=[3] * n)
    adata.obs["given"] = adata.obs["sctab_label"].to_numpy()[np.random.default_rng(0).permutation(adata.n_obs)]
    figure = pl.comparison(adata, "given")
    figure.canvas.draw()
    ax = figure.axes[0]
    assert [a.get_text() for a in ax.get_xticklabels()] == [a.get_text() for a in ax.get_yticklabels()]


def test_errors():
    with pytest.raises(KeyNotFoundError, match="labels_key"):
        pl.comparison(annotated())
    with pytest.raises(SettingError, match="nothing to draw"):
        pl.comparison(get.comparison(annotated(), "authors").head(0))
