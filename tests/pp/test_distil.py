"""Distilled references against the scores of models that learn from them."""

import anndata as ad
import numpy as np
import pytest
from tests.reference import make_reference

from sctab import KeyNotFoundError, LabelError, SettingError, pp
from sctab.metrics import macro_f1
from sctab.model import model_by_name

SMALL = {"max_epochs": 5, "batch_size": 16, "accelerator": "cpu"}


@pytest.fixture
def reference():
    return make_reference(n_donors=8)


def same_but_for(adata, before, column, key=None):
    """Whether nothing else was written."""
    assert list(adata.obs.columns) == [*before.obs.columns, column]
    assert set(adata.uns) == {*before.uns, *([] if key is None else [key])}
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


@pytest.fixture(scope="module")
def distilled():
    adata = make_reference(n_donors=8)
    pp.distil(adata, "cell_type", donor_key="donor_id", fractions=[0.05, 0.3, 0.6], tolerance=0.05, train_settings=SMALL)
    return adata


class TestDistil:
    def test_what_is_written(self, distilled):
        same_but_for(distilled, make_reference(n_donors=8), "sctab_distilled", "sctab_distilled")
        kept, run = distilled.obs["sctab_distilled"], distilled.uns["sctab_distilled"]
        assert kept.sum() == run["n_cells"]
        assert run["n_held_out"] + run["measured"]["n_cells"].iloc[-1] == 240
        assert list(run["measured"].columns) == ["fraction", "n_cells", "macro_f1"]
        assert (run["held_out_by"], run["matrix"]) == ("donor", "X")

    def test_it_is_the_smallest_fraction_that_is_good_enough(self, distilled):
        measured = distilled.uns["sctab_distilled"]["measured"]
        fractions, scores = measured["fraction"].to_numpy(), measured["macro_f1"].to_numpy()
        np.testing.assert_array_equal(fractions, [*[0.05, 0.3, 0.6][: len(fractions) - 1], 1])
        assert (scores[:-2] < scores[-1] - 0.05).all()
        assert scores[-2] >= scores[-1] - 0.05
        assert distilled.obs["sctab_distilled"].sum() == measured["n_cells"].iloc[-2] < 0.6 * 240

    def test_each_type_has_as_many_cells(self, distilled):
        counts = distilled.obs.loc[distilled.obs["sctab_distilled"], "cell_type"].value_counts()
        assert counts.max() <= counts.min() + 1

    def test_held_out_donors_are_not_kept(self, distilled):
        kept = set(distilled.obs.loc[distilled.obs["sctab_distilled"], "donor_id"])
        run = distilled.uns["sctab_distilled"]
        assert run["n_held_out"] == (8 - 6) * 30
        assert len(kept) <= 6

    def test_the_score_is_that_of_a_model_of_the_kept_cells(self, distilled):
        """Trained on them by hand, it says the same of the held-out donors."""
        kept = distilled[distilled.obs["sctab_distilled"]].copy()
        before = make_reference(n_donors=8)
        everything = pp.distil(
            before, "cell_type", donor_key="donor_id", fractions=[0.05], tolerance=-1.0, train_settings=SMALL, copy=True
        )
        query = before[~everything.obs["sctab_distilled"]].copy()
        model_class = model_by_name("linear")
        model_class.setup_anndata(kept, "cell_type", donor_key="donor_id")
        model = model_class(kept)
        model.train(calibrate=False, seed=0, enable_progress_bar=False, **SMALL)
        expected = macro_f1(query.obs["cell_type"], model.predict(query))
        assert distilled.uns["sctab_distilled"]["measured"]["macro_f1"].iloc[-2] == pytest.approx(expected)

    def test_where_no_fraction_is_enough_all_are_kept(self, reference):
        result = pp.distil(reference, "cell_type", fractions=[0.05], tolerance=-1.0, train_settings=SMALL, copy=True)
        run = result.uns["sctab_distilled"]
        assert result.obs["sctab_distilled"].sum() == run["n_cells"] == 192
        assert run["held_out_by"] == "stratified"
        assert "sctab_distilled" not in reference.obs

    def test_in_the_latent_space_of_a_network(self, reference):
        settings = {"model_settings": {"n_hidden": 8}, "train_settings": SMALL}
        for method in ("k-centre", "herding"):
            result = pp.distil(
                reference, "cell_type", model="mlp", method=method, fractions=[0.2], tolerance=1.0, copy=True, **settings
            )
            assert result.obs["sctab_distilled"].sum() == round(0.2 * 192)

    def test_cells_without_a_label_are_left_out(self, reference):
        reference.obs.loc[reference.obs_names[:40], "cell_type"] = np.nan
        pp.distil(reference, "cell_type", fractions=[0.5], tolerance=-1.0, train_settings=SMALL)
        assert not reference.obs["sctab_distilled"].iloc[:40].any()
        assert reference.obs["sctab_distilled"].sum() + reference.uns["sctab_distilled"]["n_held_out"] == 200

    def test_the_result_can_be_stored(self, distilled, tmp_path):
        distilled.write_h5ad(tmp_path / "distilled.h5ad")
        read = ad.read_h5ad(tmp_path / "distilled.h5ad").uns["sctab_distilled"]["measured"]
        np.testing.assert_allclose(read["macro_f1"], distilled.uns["sctab_distilled"]["measured"]["macro_f1"])

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"labels_key": "type"}, KeyNotFoundError, "`labels_key='type'` is not in"),
            ({"donor_key": "patient"}, KeyNotFoundError, "`donor_key='patient'` is not in"),
            ({"model": "forest"}, SettingError, "`forest` is not a model class"),
            ({"method": "random"}, SettingError, "Choose one of `k-centre`, `herding`"),
            ({"fractions": []}, SettingError, "must lie between 0 and 1, in ascending order"),
            ({"fractions": [0.5, 0.1]}, SettingError, "must lie between 0 and 1, in ascending order"),
            ({"fractions": [0.5, 1.0]}, SettingError, "must lie between 0 and 1, in ascending order"),
            ({"layer": "counts"}, KeyNotFoundError, "`layer='counts'` is not in the data"),
        ],
    )
    def test_refusals_write_nothing(self, reference, arguments, error, message):
        with pytest.raises(error, match=message):
            pp.distil(reference, **{"labels_key": "cell_type"} | arguments)
        assert "sctab_distilled" not in reference.obs
        assert not reference.uns

    def test_too_few_cells_to_hold_some_out(self, reference):
        with pytest.raises(LabelError, match="too few cells of each type to hold some out"):
            pp.distil(reference[:6].copy(), "cell_type")

    def test_one_type_only(self, reference):
        with pytest.raises(LabelError, match="at least two are needed"):
            pp.distil(reference[reference.obs["cell_type"] == "B cell"].copy(), "cell_type")
