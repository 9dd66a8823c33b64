"""Tables of an evaluation."""

import numpy as np
import pytest
from tests.reference import make_reference

import sctab
from sctab import KeyNotFoundError, SettingError, get
from sctab.model import LinearClassifier


@pytest.fixture(scope="module")
def evaluated():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(60, seed=3)
    sctab.tl.annotate(query, model, key_added="mine")
    sctab.tl.evaluate(query, "cell_type", key_added="mine", n_bootstrap=5, show=False)
    return query


def test_tables(evaluated):
    overall = get.evaluation(evaluated, key_added="mine")
    assert list(overall.columns) == ["metric", "level", "corrected", "value", "low", "high", "cells"]
    assert not overall.duplicated(["metric", "level"]).any()
    assert overall["level"].drop_duplicates().tolist() == ["shared", "as labelled", "corrected"]
    types = get.evaluation(evaluated, "types", key_added="mine")
    assert list(types.columns) == ["type", "id", "level", "corrected", "cells", "predicted", "precision", "recall", "f1"]
    assert types["cells"].sum() == 3 * evaluated.n_obs
    overall["value"] = 0.0
    assert (get.evaluation(evaluated, key_added="mine")["value"] != 0).any()


def test_reliability_is_that_of_the_calibration_error(evaluated):
    table = get.evaluation(evaluated, "reliability", key_added="mine")
    assert list(table.columns) == ["level", "corrected", "cells", "low", "high", "confidence", "accuracy"]
    assert len(table) == 3 * 15
    error = get.evaluation(evaluated, key_added="mine").query("metric == 'ece'").set_index("level")["value"]
    for level, rows in table.groupby("level"):
        assert rows["cells"].sum() == evaluated.n_obs
        gaps = (rows["cells"] * (rows["accuracy"] - rows["confidence"]).abs()).sum() / evaluated.n_obs
        assert gaps == pytest.approx(error[level], abs=1e-6)


def test_abstention_ends_at_the_error_of_all_cells(evaluated):
    table = get.evaluation(evaluated, "abstention", key_added="mine")
    assert list(table.columns) == ["level", "corrected", "cells", "threshold", "answered", "error"]
    accuracy = get.evaluation(evaluated, key_added="mine").query("metric == 'accuracy'").set_index("level")["value"]
    confidence = evaluated.obs["mine_confidence"].to_numpy()
    for level, rows in table.groupby("level"):
        assert (np.diff(rows["answered"]) > 0).all()
        assert rows["cells"].iloc[-1] == evaluated.n_obs
        assert rows["error"].iloc[-1] == pytest.approx(1 - accuracy[level])
        assert rows["cells"].tolist() == [(confidence >= threshold).sum() for threshold in rows["threshold"]]


def test_a_table_that_an_older_evaluation_lacks(evaluated):
    older = evaluated.copy()
    del older.uns["mine_evaluation"]["reliability"]
    with pytest.raises(KeyNotFoundError, match=r"does not have this table. Call `sctab.tl.evaluate` again."):
        get.evaluation(older, "reliability", key_added="mine")


def test_refusals(evaluated):
    with pytest.raises(KeyNotFoundError, match=r"`adata\.uns\['sctab_evaluation'\]` not found\. Call `sctab\.tl\.evaluate"):
        get.evaluation(evaluated)
    with pytest.raises(KeyNotFoundError, match="The evaluation is not by groups"):
        get.evaluation(evaluated, "groups", key_added="mine")
    with pytest.raises(KeyNotFoundError, match="The evaluation is not of promised terms"):
        get.evaluation(evaluated, "promise", key_added="mine")
    with pytest.raises(KeyNotFoundError, match="The evaluation is not of unseen types"):
        get.evaluation(evaluated, "unseen", key_added="mine")
    with pytest.raises(
        SettingError, match=r"`table='tissues'` is not known\. Choose one of `overall`, `types`, `groups`, `levels`"
    ):
        get.evaluation(evaluated, "tissues", key_added="mine")
