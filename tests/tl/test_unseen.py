"""Cells that no label fits, from a trained model to the columns of objects, tables and copies."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score
from tests.types_of_cells import cells_of

import sctab
from sctab import InputValueError, SctabWarning, SettingError
from sctab.inference._query_test import NO_TYPES
from sctab.model import LinearClassifier
from sctab.tl._unseen import Reported

FDR = 0.1


def trained(*, calibrate=True):
    reference = cells_of(np.random.default_rng(0).integers(3, size=450), 1)
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=20, accelerator="cpu", enable_progress_bar=False, calibrate=calibrate)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    trained().save(path)
    return path


@pytest.fixture(scope="module")
def query():
    """A fifth of the cells is of a fourth type; the last three are empty."""
    codes = np.where(np.arange(303) % 5 == 4, 3, np.arange(303) % 3)
    adata = cells_of(codes, 2)
    adata.X = adata.X.multiply((np.arange(303) < 300)[:, None]).tocsr()
    return adata


@pytest.fixture(scope="module")
def foreign():
    """Cells that are all of the fourth type."""
    return cells_of(np.full(200, 3), 4)


@pytest.fixture(scope="module")
def expected(model, query):
    with pytest.warns(SctabWarning, match=r"cells fit none of the labels, at a false discovery rate of 0\.1: see the columns"):
        return sctab.tl.annotate(query, model, unseen_fdr=FDR, copy=True)


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
class TestAnnotate:
    def test_columns(self, expected):
        p_values, reported = expected.obs["sctab_unseen"], expected.obs["sctab_is_unseen"]
        assert p_values.dtype == np.float32
        assert reported.dtype == bool
        assert p_values.isna().tolist() == [False] * 300 + [True] * 3
        is_new = expected.obs["cell_type"][:300] == "natural killer cell"
        assert roc_auc_score(is_new, -p_values[:300]) > 0.99
        assert reported[:300][is_new].mean() > 0.9
        assert not reported[300:].any()
        np.testing.assert_array_equal(reported[:300], false_discovery_control(p_values[:300]) <= FDR)

    def test_record(self, expected):
        record = expected.uns["sctab"]["unseen"]
        assert record["fdr"] == FDR
        assert record["n_cells"] == 300
        assert record["n_reported"] == expected.obs["sctab_is_unseen"].sum()

    def test_labels_are_those_without_it(self, model, query, expected):
        plain = sctab.tl.annotate(query, model, copy=True)
        assert "sctab_unseen" not in plain.obs
        assert "unseen" not in plain.uns["sctab"]
        pd.testing.assert_frame_equal(plain.obs, expected.obs[plain.obs.columns])

    def test_columns_of_an_earlier_annotation_are_removed(self, model, expected):
        again = sctab.tl.annotate(expected, model, copy=True)
        assert "sctab_unseen" not in again.obs
        assert "sctab_is_unseen" not in again.obs

    @pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
    def test_copies_are_the_same(self, model, query, expected, tmp_path, suffix):
        query.write_h5ad(tmp_path / "query.h5ad")
        output = tmp_path / f"annotated.{suffix}"
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=FDR, block_size=70)
        found = ad.read_h5ad(output) if suffix == "h5ad" else ad.read_zarr(output)
        for name in ("sctab_unseen", "sctab_is_unseen"):
            assert found.obs[name].dtype == expected.obs[name].dtype
            np.testing.assert_array_equal(found.obs[name], expected.obs[name])
        assert found.uns["sctab"]["unseen"]["n_reported"] == expected.uns["sctab"]["unseen"]["n_reported"]

    def test_tables_are_the_same(self, model, query, expected, tmp_path):
        """Of two files, each is a query of its own."""
        for name in ("first", "second"):
            query.write_h5ad(tmp_path / f"{name}.h5ad")
        files = [tmp_path / "first.h5ad", tmp_path / "second.h5ad"]
        sctab.tl.annotate_files(files, model, output=tmp_path / "labels.parquet", unseen_fdr=FDR, block_size=70)
        table = pd.read_parquet(tmp_path / "labels.parquet")
        for start in (0, 303):
            for name in ("sctab_unseen", "sctab_is_unseen"):
                np.testing.assert_array_equal(table[name][start : start + 303], expected.obs[name])

    def test_another_rate_is_another_run(self, model, query, tmp_path):
        query.write_h5ad(tmp_path / "query.h5ad")
        output = tmp_path / "labels.parquet"
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=FDR)
        assert not sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=FDR, resume=True).runs
        with pytest.raises(sctab.OutputExistsError, match="other files, settings"):
            sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=0.2, resume=True)


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
class TestRefused:
    def test_a_query_that_no_label_fits(self, model, foreign):
        with pytest.raises(InputValueError, match=r"of 200 cells \(\d+%\) fit none of the 3 labels of the model.*`force=True`"):
            sctab.tl.annotate(foreign, model, unseen_fdr=FDR)
        assert list(foreign.obs.columns) == ["cell_type", "donor_id"]
        assert not foreign.uns

    def test_unless_it_is_forced(self, model, foreign):
        found = sctab.tl.annotate(foreign, model, unseen_fdr=FDR, force=True, copy=True)
        assert found.obs["sctab_is_unseen"].mean() > 0.5

    def test_files_keep_what_was_done(self, model, foreign, tmp_path):
        foreign.write_h5ad(tmp_path / "query.h5ad")
        output = tmp_path / "labels.parquet"
        with pytest.raises(InputValueError, match="fit none of the 3 labels"):
            sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=FDR)
        assert not output.exists()
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, unseen_fdr=FDR, force=True, resume=True)
        assert pd.read_parquet(output)["sctab_is_unseen"].mean() > 0.5

    @pytest.mark.parametrize("fdr", [0, 1, -0.1, 2])
    def test_what_is_not_a_rate(self, model, foreign, fdr):
        with pytest.raises(SettingError, match="must be between 0 and 1, such as 0.1"):
            sctab.tl.annotate(foreign, model, unseen_fdr=fdr)


def test_models_that_keep_no_types_say_so(query):
    model = trained(calibrate=False)
    with pytest.warns(SctabWarning) as warned:
        found = sctab.tl.annotate(query, model, unseen_fdr=FDR, copy=True)
    assert NO_TYPES in [str(each.message) for each in warned]
    assert found.obs["sctab_unseen"][:300].between(0, 1).all()


def test_types_stay_when_a_model_is_calibrated_again(tmp_path):
    model = trained()
    before = model.predictor.arrays["types.scores"]
    with pytest.warns(SctabWarning, match="held for new donors, and now hold for other cells"):
        model.calibrate(cells_of(np.arange(90) % 3, 9), "cell_type")
    np.testing.assert_array_equal(model.predictor.arrays["types.scores"], before)


class TestReported:
    def test_worked_by_hand(self):
        """With four cells, 0.02 passes 0.1 · 1/4 and 0.04 passes 0.1 · 2/4; 0.5 does not pass 0.1 · 3/4."""
        reported = Reported.of(np.array([0.04, np.nan, 0.5, 0.02, 0.9], dtype=np.float32), FDR, "")
        assert (reported.n_reported, reported.n_cells) == (2, 4)
        columns = reported.columns(np.array([0.04, np.nan, 0.5], dtype=np.float32), 3)
        assert columns["is_unseen"].tolist() == [True, False, False]

    def test_no_cell_was_measured(self):
        reported = Reported.of(None, FDR, "")
        columns = reported.columns(None, 3)
        assert np.isnan(columns["unseen"]).all()
        assert not columns["is_unseen"].any()
        assert reported.notes == []
        reported.require_few(None, force=False)

    def test_notes(self):
        assert Reported(FDR, 0.1, 0, 10, "a note").notes == ["a note"]
        assert Reported(FDR, 0.1, 1200, 4000).notes[0].startswith("1,200 of 4,000 cells fit none of the labels")
