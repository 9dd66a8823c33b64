"""Choosing cells of an AnnData: what is written, from which matrix, and what is refused."""

from itertools import pairwise

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from tests.reference import TYPES, make_reference

from sctab import InputValueError, KeyNotFoundError, LabelError, SctabWarning, SettingError, pp
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


class TestSplit:
    def test_what_is_written(self, reference):
        before = reference.copy()
        assert pp.split(reference, "cell_type") is None
        same_but_for(reference, before, "sctab_split")
        splits = reference.obs["sctab_split"]
        assert list(splits.cat.categories) == ["train", "validation", "test"]
        table = pd.crosstab(splits, reference.obs["cell_type"])
        assert (table.to_numpy() == [[56] * 3, [12] * 3, [12] * 3]).all()  # 80 cells of each type

    def test_by_default_donors_are_whole_where_there_are_donors(self, reference):
        pp.split(reference, "cell_type", donor_key="donor_id")
        table = pd.crosstab(reference.obs["donor_id"], reference.obs["sctab_split"]) > 0
        assert (table.sum(axis=1) == 1).all()
        assert table.sum().to_dict() == {"train": 6, "validation": 1, "test": 1}

    def test_names_and_shares_are_those_given(self, reference):
        result = pp.split(reference, "cell_type", sizes={"learn": 0.5, "look": 0.5}, key_added="mine", copy=True)
        assert result.obs["mine_split"].value_counts().to_dict() == {"learn": 120, "look": 120}
        assert "mine_split" not in reference.obs

    def test_cells_without_a_label_have_no_split(self, reference):
        reference.obs.loc[reference.obs_names[:5], "cell_type"] = np.nan
        pp.split(reference, "cell_type", donor_key="donor_id")
        np.testing.assert_array_equal(reference.obs["sctab_split"].isna(), np.arange(240) < 5)

    def test_the_order_of_categories_does_not_matter(self, reference):
        other = reference.copy()
        other.obs["cell_type"] = other.obs["cell_type"].cat.reorder_categories(TYPES[::-1])
        pp.split(reference, "cell_type")
        pp.split(other, "cell_type")
        assert list(reference.obs["sctab_split"]) == list(other.obs["sctab_split"])

    @pytest.mark.parametrize("arguments", [{"labels_key": "celltype"}, {"labels_key": "cell_type", "donor_key": "patient"}])
    def test_a_column_that_is_not_there(self, reference, arguments):
        with pytest.raises(KeyNotFoundError, match="is not in `adata.obs`. Columns: `cell_type`, `donor_id`"):
            pp.split(reference, **arguments)

    def test_a_cell_without_a_donor(self, reference):
        reference.obs.loc[reference.obs_names[:5], "donor_id"] = np.nan
        with pytest.raises(LabelError, match=r"has no donor \(NaN\) for 5 of 240 cells"):
            pp.split(reference, "cell_type", donor_key="donor_id")

    def test_a_refusal_writes_nothing(self, reference):
        with pytest.raises(SettingError, match="sum to one"):
            pp.split(reference, "cell_type", sizes={"train": 0.5, "test": 0.4})
        assert "sctab_split" not in reference.obs


class TestSketch:
    @pytest.mark.parametrize("method", ["geosketch", "stratified", "balanced", "k-centre", "herding"])
    @pytest.mark.parametrize(("size", "expected"), [(30, 30), (0.25, 60), (1.0, 240)])
    def test_what_is_written(self, reference, method, size, expected):
        before = reference.copy()
        labels_key = None if method == "geosketch" else "cell_type"
        assert pp.sketch(reference, size, method=method, labels_key=labels_key) is None
        same_but_for(reference, before, "sctab_sketch", "sctab_sketch")
        chosen = reference.obs["sctab_sketch"]
        assert chosen.dtype == bool
        assert chosen.sum() == reference.uns["sctab_sketch"]["n_cells"] == expected
        if labels_key:
            assert set(reference.obs.loc[chosen, "cell_type"].value_counts()) == {expected // 3}

    def test_any_matrix_of_the_same_counts_gives_the_same_cells(self, reference):
        """The components are those of log1p of 10,000 counts per cell, from counts as from what was made of them."""
        other = reference.copy()
        sc.pp.normalize_total(other, target_sum=1e4)
        sc.pp.log1p(other)
        pp.sketch(reference, 20, method="k-centre")
        pp.sketch(other, 20, method="k-centre")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], other.obs["sctab_sketch"])

    def test_components_span_those_of_scanpy(self, reference):
        """Farthest-first traversal looks at distances only, which do not depend on signs."""
        with_scanpy = reference.copy()
        sc.pp.normalize_total(with_scanpy, target_sum=1e4)
        sc.pp.log1p(with_scanpy)
        sc.pp.pca(with_scanpy, n_comps=50)
        pp.sketch(reference, 40, method="k-centre")
        pp.sketch(with_scanpy, 40, method="k-centre", use_rep="X_pca")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], with_scanpy.obs["sctab_sketch"])
        assert reference.uns["sctab_sketch"]["space"] == "principal components of X"
        assert with_scanpy.uns["sctab_sketch"]["space"] == "X_pca"

    def test_it_says_which_matrix_it_used(self):
        adata = sc.datasets.pbmc68k_reduced()
        with pytest.warns(SctabWarning, match=r"`raw.X` was used") as caught:
            pp.sketch(adata, 50, method="k-centre")
        assert caught[0].filename == __file__

    def test_antibodies_do_not_count(self, reference):
        other = ad.concat([reference, reference[:, :5].copy()], axis="var", join="outer", index_unique="-", keys=["rna", "adt"])
        other.obs = reference.obs.copy()
        other.var["feature_types"] = np.where(np.arange(65) < 60, "Gene Expression", "Antibody Capture")
        pp.sketch(reference, 20, method="k-centre")
        pp.sketch(other, 20, method="k-centre")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], other.obs["sctab_sketch"])

    def test_backed(self, reference, tmp_path):
        reference.write_h5ad(tmp_path / "reference.h5ad")
        backed = ad.read_h5ad(tmp_path / "reference.h5ad", backed="r")
        pp.sketch(reference, 20, method="herding")
        pp.sketch(backed, 20, method="herding")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], backed.obs["sctab_sketch"])

    def test_cells_without_a_label_are_not_chosen(self, reference):
        reference.obs.loc[reference.obs_names[:40], "cell_type"] = np.nan
        pp.sketch(reference, 1.0, method="stratified", labels_key="cell_type")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], np.arange(240) >= 40)

    def test_a_copy_leaves_the_original(self, reference):
        result = pp.sketch(reference, 20, method="k-centre", key_added="few", copy=True)
        assert result.obs["few_sketch"].sum() == 20
        assert result.uns["few_sketch"]["method"] == "k-centre"
        assert not reference.uns
        assert "few_sketch" not in reference.obs

    def test_the_result_can_be_stored(self, reference, tmp_path):
        pp.sketch(reference, 20, method="herding")
        reference.write_h5ad(tmp_path / "sketch.h5ad")
        read = ad.read_h5ad(tmp_path / "sketch.h5ad")
        assert read.uns["sctab_sketch"] == reference.uns["sctab_sketch"]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"size": 20, "method": "random"}, SettingError, "`method='random'` is not known. There is `geosketch`"),
            ({"size": 20, "method": "balanced"}, SettingError, "needs to know the types"),
            ({"size": 20, "labels_key": "cell_type"}, SettingError, "does not look at types"),
            ({"size": 20, "method": "herding", "labels_key": "type"}, KeyNotFoundError, "`labels_key='type'` is not in"),
            ({"size": 20, "use_rep": "X_pca"}, KeyNotFoundError, "`use_rep='X_pca'` is not in `adata.obsm`"),
            ({"size": 20, "layer": "counts"}, KeyNotFoundError, "`layer='counts'` is not in the data"),
            ({"size": 1.5}, SettingError, "`size=1.5` must be a fraction"),
            ({"size": 0.0}, SettingError, "`size=0.0` must be a fraction"),
            ({"size": 241}, SettingError, "`n=241` cells cannot be chosen"),
            ({"size": 0, "method": "k-centre"}, SettingError, "`n=0` cells cannot be chosen"),
        ],
    )
    def test_refusals_write_nothing(self, reference, arguments, error, message):
        with pytest.raises(error, match=message):
            pp.sketch(reference, **arguments)
        assert "sctab_sketch" not in reference.obs
        assert not reference.uns

    def test_scaled_values_are_refused(self, reference):
        reference.X = reference.X.toarray() - 1
        with pytest.raises(InputValueError, match="holds negative values"):
            pp.sketch(reference, 20)


class TestSubsample:
    @pytest.mark.parametrize(
        ("by", "n_obs"), [({}, [36, 72, 120, 168, 240]), ({"by": "donor", "donor_key": "donor_id"}, [60, 90, 120, 180, 240])]
    )
    def test_smaller_shares_lie_in_larger_ones(self, reference, by, n_obs):
        found = [pp.subsample(reference, fraction, seed=3, **by) for fraction in (0.15, 0.3, 0.5, 0.7, 1.0)]
        assert [adata.n_obs for adata in found] == n_obs  # 8 donors of 30 cells: 2, 3, 4, 6 and 8 of them
        for smaller, larger in pairwise(found):
            assert smaller.obs_names.isin(larger.obs_names).all()
        assert list(found[-1].obs_names) == list(reference.obs_names)

    def test_what_is_given_is_a_part_of_the_data(self, reference):
        before = reference.copy()
        found = pp.subsample(reference, 0.2)
        assert not found.is_view
        np.testing.assert_array_equal(found.X.toarray(), before[found.obs_names].X.toarray())
        assert list(found.obs.columns) == list(before.obs.columns)
        found.X.data[:] = 0
        np.testing.assert_array_equal(reference.X.toarray(), before.X.toarray())

    def test_donors_are_whole(self, reference):
        found = pp.subsample(reference, 0.5, by="donor", donor_key="donor_id")
        assert found.obs["donor_id"].value_counts().loc[lambda counts: counts > 0].tolist() == [30] * 4

    def test_the_seed_decides(self, reference):
        one, same, other = (list(pp.subsample(reference, 0.2, seed=seed).obs_names) for seed in (0, 0, 1))
        assert one == same != other

    def test_the_order_of_categories_does_not_matter(self, reference):
        other = reference.copy()
        other.obs["donor_id"] = other.obs["donor_id"].cat.reorder_categories(other.obs["donor_id"].cat.categories[::-1])
        one, two = (pp.subsample(adata, 0.3, by="donor", donor_key="donor_id").obs_names for adata in (reference, other))
        assert list(one) == list(two)

    def test_backed(self, reference, tmp_path):
        reference.write_h5ad(tmp_path / "reference.h5ad")
        found = pp.subsample(ad.read_h5ad(tmp_path / "reference.h5ad", backed="r"), 0.2)
        assert not found.isbacked
        assert list(found.obs_names) == list(pp.subsample(reference, 0.2).obs_names)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"fraction": 0}, SettingError, "`fraction=0` must be above 0 and at most 1"),
            ({"by": "sample"}, SettingError, "`by='sample'` must be `'cell'` or `'donor'`"),
            ({"by": "donor"}, SettingError, "`by='donor'` and `donor_key=…` together"),
            ({"donor_key": "donor_id"}, SettingError, "`by='donor'` and `donor_key=…` together"),
            ({"by": "donor", "donor_key": "patient"}, KeyNotFoundError, "`donor_key='patient'` is not in `adata.obs`"),
        ],
    )
    def test_refusals(self, reference, arguments, error, message):
        with pytest.raises(error, match=message):
            pp.subsample(reference, **{"fraction": 0.5} | arguments)

    def test_a_cell_without_a_donor(self, reference):
        reference.obs.loc[reference.obs_names[:5], "donor_id"] = np.nan
        with pytest.raises(LabelError, match=r"has no donor \(NaN\) for 5 of 240 cells"):
            pp.subsample(reference, 0.5, by="donor", donor_key="donor_id")


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
        model.train(seed=0, enable_progress_bar=False, **SMALL)
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
            ({"method": "random"}, SettingError, "There is `k-centre`, `herding`"),
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


def test_a_sparse_matrix_stays_sparse(reference, monkeypatch):
    for kind in (sparse.csr_matrix, sparse.csr_array):
        monkeypatch.setattr(kind, "toarray", lambda *_, **__: pytest.fail("made dense"))
    pp.sketch(reference, 5, method="k-centre")
    assert reference.obs["sctab_sketch"].sum() == 5
