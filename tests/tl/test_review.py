"""Review of given labels in an AnnData and on the command line."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tests.types_of_cells import cells_of

import sctab
from sctab import InputValueError, KeyNotFoundError, LabelError, SctabWarning, SettingError
from sctab.model import LinearClassifier, XGBoostClassifier

QUICK = {"accelerator": "cpu", "enable_progress_bar": False}
WRONG = np.arange(3, 300, 30)
NAMES = ["B cell", "T cell", "monocyte"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Check how they were read:sctab.errors.SctabWarning"),
    pytest.mark.filterwarnings("ignore:The model is not calibrated:sctab.errors.SctabWarning"),
]


@pytest.fixture(scope="module")
def cells():
    """Cells of three types, of which every thirtieth has the label of the next type."""
    codes = np.arange(300) % 3
    adata = cells_of(codes, seed=3)
    given = codes.copy()
    given[WRONG] = (given[WRONG] + 1) % 3
    adata.obs["given"] = pd.Categorical(np.array(NAMES)[given])
    adata.obs["cluster"] = pd.Categorical(codes.astype(str))
    return adata


@pytest.fixture(scope="module")
def model():
    reference = cells_of(np.arange(240) % 3, seed=8)
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(calibrate=False, **QUICK)
    return model


@pytest.fixture(scope="module")
def reviewed(cells):
    return sctab.tl.review(cells, "given", groups="cluster", copy=True)


class TestWithoutAModel:
    def test_wrong_labels_are_found(self, cells, reviewed):
        assert not cells.uns
        assert not [name for name in cells.obs if name.startswith("sctab")]
        suspect = reviewed.obs["sctab_is_suspect"].to_numpy()
        assert suspect[WRONG].mean() >= 0.9
        assert suspect.sum() <= 2 * len(WRONG)
        found = reviewed.obs["sctab_review_label"].astype(object)
        assert found.notna().tolist() == suspect.tolist()
        assert (found[suspect] != reviewed.obs["given"].astype(object)[suspect]).all()
        right = found.to_numpy()[WRONG] == reviewed.obs["cell_type"].to_numpy()[WRONG]
        assert right.mean() >= 0.9
        margin = reviewed.obs["sctab_review_margin"].to_numpy()
        assert np.sort(margin[WRONG])[2] > np.quantile(np.delete(margin, WRONG), 0.95)

    def test_the_queue(self, reviewed):
        queue = sctab.get.review(reviewed)
        assert len(queue) == reviewed.obs["sctab_is_suspect"].sum()
        assert queue["p_given"].is_monotonic_increasing
        assert (reviewed.obs_names[queue["position"]] == queue["cell"]).all()
        assert (reviewed.obs["given"].astype(object).iloc[queue["position"]].to_numpy() == queue["given"]).all()
        np.testing.assert_allclose(queue["margin"], queue["p_suggested"] - queue["p_given"])
        assert (queue["group"] == reviewed.obs["cluster"].astype(str).iloc[queue["position"]].to_numpy()).all()

    def test_genes_are_those_of_the_types(self, reviewed):
        """Genes 15 t to 15 (t + 1) are those of type t."""
        queue = sctab.get.review(reviewed)
        queue = queue[queue["suggested"] == reviewed.obs["cell_type"].iloc[queue["position"]].to_numpy()]
        assert len(queue) > 5
        for row in queue.itertuples():
            for genes, label in ((row.genes_for, row.suggested), (row.genes_against, row.given)):
                numbers = [int(name[4:]) // 15 for name in genes.split(", ") if name]
                if label == row.suggested:
                    assert len(numbers) == 5
                assert np.mean(np.array(numbers) == NAMES.index(label)) >= 0.6 or not numbers

    def test_pairs_and_groups(self, reviewed):
        pairs = sctab.get.review(reviewed, "pairs")
        assert pairs["expected"].is_monotonic_decreasing
        assert pairs["confident"].sum() == reviewed.obs["sctab_is_suspect"].sum()
        np.testing.assert_allclose(pairs["expected"], pairs["rate"] * pairs["cells"])
        assert pairs["expected"].sum() == pytest.approx(reviewed.uns["sctab_review"]["n_wrong"])
        groups = sctab.get.review(reviewed, "groups")
        assert groups["cells"].sum() == 300
        assert (groups["margin"] < 0).all()
        assert groups["n_suspect"].sum() == reviewed.obs["sctab_is_suspect"].sum()

    def test_a_cluster_with_a_wrong_label_comes_first(self, cells, model):
        adata = cells.copy()
        adata.obs["given"] = adata.obs["cluster"].astype(str).map({"0": "B cell", "1": "monocyte", "2": "monocyte"})
        sctab.tl.review(adata, "given", model, groups="cluster", n_genes=0)
        first = sctab.get.review(adata, "groups").iloc[0]
        assert (first["group"], first["given"], first["suggested"]) == ("1", "monocyte", "T cell")
        assert first["margin"] > 0.5
        assert "genes_for" not in sctab.get.review(adata)

    def test_it_is_repeatable(self, cells, reviewed):
        again = sctab.tl.review(cells, "given", groups="cluster", copy=True)
        pd.testing.assert_frame_equal(again.obs, reviewed.obs)

    def test_it_can_be_written_and_read(self, reviewed, tmp_path):
        reviewed.write_h5ad(tmp_path / "a.h5ad")
        again = ad.read_h5ad(tmp_path / "a.h5ad")
        for table in ("cells", "pairs", "groups"):
            pd.testing.assert_frame_equal(sctab.get.review(again, table), sctab.get.review(reviewed, table), check_dtype=False)

    def test_rare_and_missing_labels_are_not_reviewed(self, cells):
        adata = cells.copy()
        labels = adata.obs["given"].astype(object)
        labels.iloc[:5], labels.iloc[5:9] = "rare", None
        adata.obs["given"] = labels
        adata.obs_names = ["same"] * adata.n_obs
        with pytest.warns(
            SctabWarning, match=r"5 cells of 1 labels with fewer than 10 cells are neither learned nor reviewed: 'rare'"
        ):
            sctab.tl.review(adata, "given", n_genes=1)
        assert adata.obs["sctab_review_margin"].isna().tolist() == [True] * 9 + [False] * 291
        assert not adata.obs["sctab_is_suspect"][:9].any()

    def test_numbers_as_labels(self, cells):
        adata = cells.copy()
        adata.obs["given"] = adata.obs["given"].map(dict(zip(NAMES, range(3), strict=True))).astype(int)
        sctab.tl.review(adata, "given", n_genes=0)
        assert set(adata.obs["sctab_review_label"].dropna()) <= {"0", "1", "2"}
        assert adata.obs["sctab_is_suspect"].to_numpy()[WRONG].mean() >= 0.9


class TestWithAModel:
    def test_a_model_and_its_annotation_say_the_same(self, cells, model):
        by_model = sctab.tl.review(cells, "given", model, copy=True)
        annotated = sctab.tl.annotate(cells, model, key_added="m", copy=True)
        sctab.tl.review(annotated, "given", annotation_key="m")
        np.testing.assert_allclose(annotated.obs["sctab_review_margin"], by_model.obs["sctab_review_margin"], atol=1e-6)
        assert by_model.obs["sctab_is_suspect"].to_numpy()[WRONG].mean() >= 0.9
        assert "genes_for" in sctab.get.review(by_model)
        assert "genes_for" not in sctab.get.review(annotated)
        assert "not calibrated" in " ".join(by_model.uns["sctab_review"]["notes"])

    def test_broader_labels_are_not_contradicted(self, cells, model):
        adata = cells.copy()
        adata.obs["given"] = adata.obs["cell_type"].map(
            {"B cell": "lymphocyte", "T cell": "CD4-positive, alpha-beta T cell", "monocyte": "lymphocyte"}
        )
        sctab.tl.review(adata, "given", model, n_genes=0)
        is_wrong = (adata.obs["cell_type"] == "monocyte").to_numpy()
        assert (adata.obs["sctab_review_margin"].to_numpy() > 0).tolist() == is_wrong.tolist()
        probabilities = sctab.tl.annotate(cells, model, copy=True).obsm["sctab_probabilities"]
        monocyte = np.asarray(probabilities)[:, list(model.spec.labels.names).index("monocyte")]
        # Nobody gave the label: its threshold is its mean among the cells that it is most probable for, and at most 0.8. Cells below
        # are contradicted, and not confidently so.
        threshold = min(monocyte[is_wrong].mean(), 0.8)
        assert adata.obs["sctab_is_suspect"].tolist() == (is_wrong & (monocyte >= threshold)).tolist()

    def test_types_that_the_model_does_not_know_are_listed(self, cells, model):
        adata = cells.copy()
        labels = adata.obs["given"].astype(object)
        labels.iloc[:7] = "hepatocyte"
        adata.obs["given"] = labels
        with pytest.warns(SctabWarning, match="7 cells have labels .* and are not reviewed: `hepatocyte`"):
            sctab.tl.review(adata, "given", model, n_genes=0)
        assert adata.obs["sctab_review_margin"].isna().sum() == 7

    def test_a_model_that_learned_the_cells_is_told(self, cells):
        own = cells.copy()
        LinearClassifier.setup_anndata(own, "given")
        model = LinearClassifier(own)
        model.train(max_epochs=2, **QUICK)
        with pytest.warns(SctabWarning, match="100% of the cells are recognised as cells that the model has learned"):
            sctab.tl.review(cells, "given", model, n_genes=0, copy=True)

    def test_boosted_trees_give_no_genes(self, cells):
        pytest.importorskip("xgboost")
        reference = cells_of(np.arange(120) % 3, seed=8)
        XGBoostClassifier.setup_anndata(reference, "cell_type")
        model = XGBoostClassifier(reference)
        model.train(calibrate=False, max_epochs=5, **QUICK)
        with pytest.warns(SctabWarning, match="no gradients, so that no genes are given"):
            found = sctab.tl.review(cells, "given", model, copy=True)
        assert "genes_for" not in sctab.get.review(found)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"labels_key": "nope"}, KeyNotFoundError, "`labels_key='nope'` is not in"),
        ({}, {"groups": "nope"}, KeyNotFoundError, "`groups='nope'` is not in"),
        ({}, {"donor_key": "nope"}, KeyNotFoundError, "`donor_key='nope'` is not in"),
        ({"given": [None] * 300}, {}, LabelError, "has no label to review: all are missing"),
        (
            {"given": ["B cell"] * 300},
            {},
            LabelError,
            "has 1 labels with at least 10 cells, and models of the other cells need two",
        ),
        ({"given": [f"type {i}" for i in range(300)]}, {}, LabelError, "has 0 labels with at least 10 cells"),
        ({}, {"model": "pbmc", "annotation_key": "sctab"}, SettingError, "either `model` or `annotation_key`, not both"),
        ({}, {"annotation_key": "x"}, KeyNotFoundError, "has no annotation under `x`"),
        ({}, {"n_genes": -1}, SettingError, "must be 0 or more"),
        ({"cluster": np.linspace(0, 1, 300)}, {"groups": "cluster"}, InputValueError, "holds fractions"),
    ],
)
def test_refusals_leave_everything_as_it_was(cells, change, options, error, message):
    adata = cells.copy()
    for name, values in change.items():
        adata.obs[name] = values
    before = adata.copy()
    with pytest.raises(error, match=message):
        sctab.tl.review(adata, options.pop("labels_key", "given"), **options)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


def test_labels_that_the_model_cannot_compare(cells, model):
    adata = cells.copy()
    adata.obs["given"] = ["hepatocyte"] * 300
    with pytest.raises(LabelError, match="has no label that the evidence knows"):
        sctab.tl.review(adata, "given", model)


def test_scaled_values_are_refused(cells):
    adata = AnnData(sparse.csr_matrix(cells.X.toarray() - 1.0), obs=cells.obs.copy(), var=cells.var)
    with pytest.raises(InputValueError):
        sctab.tl.review(adata, "given")
