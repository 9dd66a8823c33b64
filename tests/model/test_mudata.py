"""Models of gene expression and surface proteins."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq

import sctab
from sctab.corpus import Corpus
from sctab.errors import InputTypeError, InputValueError, KeyNotFoundError, SctabWarning, SettingError
from sctab.model import SCTAB, AutoClassifier, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier, load_model

QUICK = {"max_epochs": 6, "enable_progress_bar": False, "accelerator": "cpu"}
CLASSES = {
    "linear": (LinearClassifier, QUICK),
    "mlp": (MLPClassifier, QUICK),
    "sctab": (SCTAB, QUICK),
    "xgboost": (XGBoostClassifier, {"max_epochs": 6, "enable_progress_bar": False}),
}


def trained(name, mdata, **settings):
    model_class, quick = CLASSES[name]
    model_class.setup_mudata(mdata, "cell_type", modalities={"rna": "rna", "protein": "prot"}, donor_key="donor")
    model = model_class(mdata)
    model.train(**{**quick, "calibrate": False, **settings})
    return model


@pytest.fixture(scope="module")
def reference():
    return cite_seq(360)


@pytest.fixture(scope="module", params=list(CLASSES))
def model(request, reference):
    return trained(request.param, reference, max_epochs=40)


class TestEveryClass:
    def test_antibodies_decide_what_genes_confuse(self, model):
        query = cite_seq(120, seed=1)
        truth = query.obs["cell_type"].to_numpy()
        is_t = pd.Series(truth).str.endswith(" T cell").to_numpy()
        assert (model.predict(query)[is_t] == truth[is_t]).mean() > 0.9

    def test_cells_without_proteins_keep_what_genes_say(self, model):
        query = cite_seq(120, seed=1)
        with pytest.warns(SctabWarning, match="no surface proteins"):
            found = model.predict(query["rna"].copy())
        lineage = pd.Series(found).where(~pd.Series(found).str.endswith(" T cell"), "T")
        truth = query.obs["cell_type"].where(~query.obs["cell_type"].str.endswith(" T cell"), "T").reset_index(drop=True)
        assert (lineage == truth).mean() > 0.9

    def test_proteins_alone_are_annotated(self, model):
        query = cite_seq(120, seed=1)
        alone = as_mudata(prot=query["prot"].copy())
        with pytest.warns(SctabWarning, match="by surface proteins alone"):
            found = model.predict(alone)
        assert (found == query.obs["cell_type"].to_numpy()).mean() > 0.8

    def test_order_and_other_antibodies_change_nothing(self, model):
        query = cite_seq(60, seed=2)
        other = query["prot"][:, ::-1].copy()
        more = AnnData(
            np.hstack([other.X.toarray(), np.full((60, 2), 9.0, dtype=np.float32)]),
            obs=other.obs,
            var=pd.DataFrame(
                index=[*(f"{name}_TotalSeqB" for name in other.var_names), "CD56_TotalSeqB", "IgG1_control_TotalSeqB"]
            ),
        )
        changed = as_mudata(rna=query["rna"].copy(), prot=more)
        np.testing.assert_allclose(
            model.predict(changed, soft=True).to_numpy(), model.predict(query, soft=True).to_numpy(), rtol=1e-4, atol=1e-5
        )

    def test_saved_and_loaded(self, model, tmp_path):
        query = cite_seq(40, seed=3)
        model.save(tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert loaded.spec.proteins == model.spec.proteins
        np.testing.assert_array_equal(loaded.predict(query, soft=True), model.predict(query, soft=True))
        assert sctab.zoo.load_predictor(tmp_path / "model").spec.proteins.names == ANTIBODIES

    def test_importance_of_antibodies(self, model):
        importance = pd.Series(model.spec.training["protein_importance"], index=ANTIBODIES)
        assert importance[["CD4", "CD8"]].min() > importance["CD45RA"]
        assert model.gene_importance.sum() == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def calibrated():
    return trained("linear", cite_seq(360), max_epochs=20, calibrate=True)


class TestCalibration:
    def test_is_one_for_each_kind_of_query(self, calibrated, tmp_path):
        calibration = calibrated.spec.calibration
        assert set(calibration.reduced) == {"some", "none", "only"}
        calibrated.save(tmp_path / "model")
        assert load_model(tmp_path / "model").spec.calibration == calibration

    def test_follows_the_query(self, calibrated):
        whole, calibration = cite_seq(60, seed=4), calibrated.spec.calibration
        alone = as_mudata(prot=whole["prot"].copy())
        some = as_mudata(rna=whole["rna"].copy(), prot=whole["prot"][:, :3].copy())
        for query, expected in (
            (whole, calibration),
            (some, calibration.reduced["some"]),
            (whole["rna"].copy(), calibration.reduced["none"]),
            (alone, calibration.reduced["only"]),
        ):
            with warnings.catch_warnings(action="ignore"):
                sctab.tl.annotate(query, calibrated, accepted_error=0.3)
            assert query.uns["sctab"]["calibration"]["temperature"] == expected.temperature
            assert query.uns["sctab"]["promise"]["n_units"] == 3

    def test_promises_rest_on_cells_of_the_same_kind(self, calibrated):
        predictor = calibrated.predictor
        query = cite_seq(60, seed=4)
        whole = predictor.suited_to(predictor.open_query(predictor.cells_of(query)))
        with warnings.catch_warnings(action="ignore"):
            without = predictor.suited_to(predictor.open_query(query["rna"]))
        name = "held_out.log_probabilities"
        assert without.arrays[name].tobytes() == predictor.arrays["held_out_with_none.log_probabilities"].tobytes()
        assert whole.arrays[name].tobytes() != without.arrays[name].tobytes()


def test_writes_into_the_mudata():
    reference, query = cite_seq(160), cite_seq(50, seed=5)
    model = trained("linear", reference, max_epochs=10)
    sctab.tl.annotate(query, model)
    assert {"sctab_label", "sctab_confidence"} <= set(query.obs)
    assert "sctab_label" not in query["rna"].obs
    assert query.obsm["sctab_probabilities"].shape == (50, 4)
    found = query.uns["sctab"]["proteins"]
    assert (found["measured"], found["n_matched"], found["n_model"]) == ("all", 6, 6)
    assert list(found["antibodies"]["rule"]) == ["same name"] * 6
    np.testing.assert_array_equal(query.obs["sctab_label"].to_numpy(), model.predict(query))


def test_cells_of_one_modality_only():
    reference, whole = cite_seq(160), cite_seq(40, seed=6)
    model = trained("linear", reference, max_epochs=10)
    query = as_mudata(rna=whole["rna"][10:].copy(), prot=whole["prot"][:30].copy())
    with pytest.warns(SctabWarning, match="Antibodies were measured in 30 of 40 cells"):
        sctab.tl.annotate(query, model)
    expected = pd.Series(model.predict(whole), index=whole.obs_names)
    both = whole.obs_names[10:30]
    assert (query.obs.loc[both, "sctab_label"].astype(str) == expected[both]).all()
    assert query.obs["sctab_label"].notna().all()


def test_ensemble_and_auto(tmp_path):
    reference, query = cite_seq(160), cite_seq(40, seed=7)
    ensemble = DeepEnsemble(LinearClassifier, n_members=2)
    ensemble.setup_mudata(reference, "cell_type")
    ensemble.train(max_epochs=4, calibrate=False, enable_progress_bar=False)
    ensemble.save(tmp_path / "ensemble")
    np.testing.assert_array_equal(load_model(tmp_path / "ensemble").predict(query), ensemble.predict(query))
    AutoClassifier.setup_mudata(reference, "cell_type", donor_key="donor")
    auto = AutoClassifier(reference, candidates=["linear", "xgboost"])
    auto.train(max_epochs=4, enable_progress_bar=False, n_jobs=1)
    assert auto.spec.proteins.names == ANTIBODIES
    assert set(auto.spec.calibration.reduced) == {"some", "none", "only"}


def test_explanations_and_coefficients():
    reference = cite_seq(160)
    sctab_model = trained("sctab", reference, max_epochs=8)
    sctab.tl.explain(reference, sctab_model, n_top=66)
    assert {"CD4 (protein)", "GENE3"} <= set(sctab.get.explanation(reference)["gene"])
    assert sctab_model.explain(reference).shape == (160, 66)
    coefficients = trained("linear", reference, max_epochs=8).get_coefficients()
    assert list(coefficients.columns[60:]) == [*(f"{name} (protein)" for name in ANTIBODIES), "proteins measured"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"modalities": {"protein": "prot"}}, SettingError, "has no `rna`"),
        ({"modalities": {"rna": "rna", "protein": "adt"}}, KeyNotFoundError, "not a modality of the MuData"),
        ({"protein_layer": "counts"}, KeyNotFoundError, "`protein_layer='counts'` is not in"),
    ],
)
def test_refuses(settings, error, message):
    with pytest.raises(error, match=message):
        LinearClassifier.setup_mudata(cite_seq(40), "cell_type", **settings)


def test_refuses_peaks():
    mdata = cite_seq(40)
    mdata["prot"].var_names = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(1, 7)]
    with pytest.raises(InputValueError, match=r"regions of the genome.*gene activities"):
        LinearClassifier.setup_mudata(mdata, "cell_type", modalities={"rna": "rna", "protein": "prot"})


def test_refuses_an_anndata():
    with pytest.raises(InputTypeError, match="`setup_mudata` needs a MuData, and this is an object of the class `AnnData`"):
        LinearClassifier.setup_mudata(cite_seq(40)["rna"], "cell_type")


@pytest.fixture(scope="module")
def path(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "linear"
    trained("linear", reference, max_epochs=30).save(path)
    return path


class TestOtherData:
    """A trained model and another MuData."""

    def test_calibrate(self, path):
        model, query = LinearClassifier.load(path), cite_seq(150, seed=4)
        model.calibrate(query, "cell_type", donor_key="donor")
        calibration = model.spec.calibration
        assert calibration.unit == "donor"
        assert {"some", "none"} <= set(calibration.reduced)
        assert list(query.obs) == ["cell_type", "donor"]

    def test_load_with_a_reference_and_train_on(self, path):
        query = cite_seq(150, seed=4)
        model = LinearClassifier.load(path, query)
        model.train(**{**QUICK, "calibrate": False})
        truth = query.obs["cell_type"]
        assert (model.predict(query) == truth)[truth.str.endswith(" T cell")].mean() > 0.8
        assert model.spec.proteins.names == ANTIBODIES

    def test_load_with_other_names_of_modalities(self, path):
        whole = cite_seq(80, seed=4)
        other = as_mudata(gex=whole["rna"].copy(), adt=whole["prot"].copy())
        other.obs = other.obs.join(whole.obs)
        assert LinearClassifier.load(path, other).spec.proteins.names == ANTIBODIES

    def test_new_types_of_a_query(self, path, tmp_path):
        query = cite_seq(200, seed=4, antibodies=ANTIBODIES[::-1])
        labels = query.obs["cell_type"].astype(str)
        query.obs["finer"] = labels.where(labels != "monocyte", "CD14-positive monocyte").to_numpy()
        model = LinearClassifier.load_query_data(query, path, labels_key="finer", unfrozen=True)
        assert model.spec.proteins.names == ANTIBODIES
        assert model.spec.setup["modalities"] == {"rna": "rna", "protein": "prot"}
        model.train(**{**QUICK, "max_epochs": 20, "calibrate": False})
        assert "CD14-positive monocyte" in model.spec.labels.names
        model.save(tmp_path / "finer")
        np.testing.assert_array_equal(load_model(tmp_path / "finer").predict(query, soft=True), model.predict(query, soft=True))

    def test_a_query_on_the_genes_of_the_model_keeps_proteins(self, path):
        query = cite_seq(40, seed=4)
        model = LinearClassifier.load(path)
        mapped = LinearClassifier.prepare_query_anndata(query, model)
        np.testing.assert_allclose(
            model.predict(mapped, soft=True).to_numpy(), model.predict(query, soft=True).to_numpy(), rtol=1e-5, atol=1e-6
        )

    def test_a_corpus_has_no_proteins(self, path):
        corpus = Corpus.__new__(Corpus)  # which is refused before anything of it is read
        with pytest.raises(SettingError, match="learned from 6 antibodies, and a corpus holds gene expression alone"):
            LinearClassifier.load(path, corpus)
        with pytest.raises(SettingError, match="learned from 6 antibodies, and a corpus holds gene expression alone"):
            LinearClassifier.load_query_data(corpus, path)


@pytest.fixture(scope="module")
def small():
    return trained("linear", cite_seq(240), max_epochs=6, calibrate=True)


class TestOddQueries:
    def annotated(self, small, query):
        with warnings.catch_warnings(action="ignore"):
            sctab.tl.annotate(query, small)
        return query

    @pytest.mark.parametrize("value", [0, np.nan])
    def test_proteins_without_values_are_none(self, small, value):
        query = cite_seq(60, seed=8)
        query["prot"].X = np.full((60, 6), value, dtype=np.float32)
        found, alone = self.annotated(small, query), self.annotated(small, cite_seq(60, seed=8)["rna"].copy())
        assert found.uns["sctab"]["proteins"]["measured"] == "none"
        np.testing.assert_array_equal(found.obsm["sctab_probabilities"], alone.obsm["sctab_probabilities"])

    def test_one_antibody_is_none(self, small):
        whole = cite_seq(60, seed=8)
        query = self.annotated(small, as_mudata(rna=whole["rna"].copy(), prot=whole["prot"][:, :1].copy()))
        assert query.uns["sctab"]["proteins"]["measured"] == "none"

    def test_few_cells_with_proteins(self, small):
        whole = cite_seq(60, seed=8)
        query = as_mudata(rna=whole["rna"].copy(), prot=whole["prot"][:10].copy())
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            sctab.tl.annotate(query, small)
        assert any("Most cells have no proteins" in str(each.message) for each in found)
        assert query.uns["sctab"]["proteins"]["measured"] == "none"

    def test_counts_of_a_layer_are_found(self, small):
        query, expected = cite_seq(60, seed=8), self.annotated(small, cite_seq(60, seed=8))
        query["prot"].layers["counts"] = query["prot"].X.copy()
        query["prot"].X = query["prot"].X.toarray() / 7.0 - 1.0
        np.testing.assert_array_equal(
            self.annotated(small, query).obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"]
        )

    def test_notes_are_given_once(self, small):
        whole = cite_seq(60, seed=8)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            sctab.tl.annotate(as_mudata(rna=whole["rna"].copy(), prot=whole["prot"][:, :3].copy()), small)
        said = [str(each.message) for each in found]
        assert len(said) == len(set(said))
        assert sum("antibodies were found" in each for each in said) == 1

    def test_results_are_evaluated_reviewed_drawn_and_reported(self, small, tmp_path):
        query = self.annotated(small, cite_seq(120, seed=9))
        with warnings.catch_warnings(action="ignore"):
            sctab.tl.evaluate(query, "cell_type", show=False)
            sctab.pl.type_scores(query)
            sctab.tl.review(query, "cell_type")
            assert sctab.report.write(query, tmp_path / "report.html").exists()
            assert sctab.export.write(query, tmp_path / "cells.tsv", format="table").exists()


def test_some_cells_of_a_scaled_dataset_are_scaled():
    whole = cite_seq(400)
    counts = np.log1p(whole["prot"].X.toarray())
    whole["prot"].X = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        reference, query = whole[:300].copy(), whole[300:].copy()
        one = query[query.obs["cell_type"] == "B cell"].copy()
    model = trained("linear", reference, max_epochs=6)
    with warnings.catch_warnings(action="error", category=SctabWarning):
        found = model.predict(one, soft=True)
    np.testing.assert_allclose(found, model.predict(query, soft=True).loc[one.obs_names], atol=1e-6)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda mdata: mdata[:20], "is a view of another MuData"),
        (lambda mdata: as_mudata(rna=mdata["rna"].copy(), prot=mdata["prot"][:30].copy()), "10 of 40 cells are not in `mod"),
    ],
    ids=["view", "unpaired"],
)
def test_refuses_references(prepare, message):
    with pytest.raises(InputValueError, match=message):
        LinearClassifier.setup_mudata(prepare(cite_seq(40)), "cell_type")


def test_modalities_that_are_no_mapping():
    with pytest.raises(SettingError, match="must be a mapping"):
        LinearClassifier.setup_mudata(cite_seq(40), "cell_type", modalities=["rna", "prot"])


def test_a_mudata_is_not_set_up_as_an_anndata():
    with pytest.raises(InputTypeError, match="Use `setup_mudata`"):
        LinearClassifier.setup_anndata(cite_seq(40), "cell_type")
