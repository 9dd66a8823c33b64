"""Refits of a model to a query."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from tests.reference import make_reference

from sctab.errors import GeneOverlapError, ModelFormatError, SettingError
from sctab.inference import HeldOutCells, ReferenceSketch, adapted, check_adapt, decide, evaluate_cells, load_predictor
from sctab.model import DeepEnsemble, LinearClassifier, MLPClassifier
from sctab.tl import annotate, annotate_files


def train(adata, cls=LinearClassifier, *, sketch=120, donor_key="donor_id", **settings):
    cls.setup_anndata(adata, "cell_type", donor_key=donor_key)
    model = cls(adata)
    with warnings.catch_warnings(action="ignore"):
        model.train(sketch=sketch, seed=0, accelerator="cpu", enable_progress_bar=False, **settings)
    return model


@pytest.fixture(scope="module")
def model():
    return train(make_reference())


@pytest.fixture
def panel():
    """Other cells, in which half of the genes are measured: some markers of each type."""
    return make_reference(150, seed=5)[:, ::2].copy()


def fitted(model, adata, adapt="genes"):
    predictor = model.predictor
    return adapted(predictor, [predictor.open_query(adata)], adapt)


def labels(predictor, adata):
    evaluation = evaluate_cells(predictor, adata, predictor.open_query(adata))
    return decide(evaluation, predictor.spec.calibration).labels(predictor.spec.labels.names)


@pytest.mark.parametrize("adapt", ["genes", "query"])
def test_only_measured_genes_have_weights(model, panel, adapt):
    predictor, adaptation = fitted(model, panel, adapt)
    weights = predictor.networks[0].classifier.weight.detach().numpy()
    found = model.predictor.open_query(panel).match.found
    assert (weights[:, ~found] == 0).all()
    assert (weights[:, found] != 0).any(axis=0).all()
    assert (predictor.gene_importance[~found] == 0).all()
    assert predictor.gene_importance.sum() == pytest.approx(1, abs=1e-5)
    assert (adaptation.to, adaptation.n_cells, adaptation.n_genes) == (adapt, 120, 30)
    truth = panel.obs["cell_type"].astype(str)
    assert (labels(predictor, panel) == truth).mean() > 0.95


def test_calibration_is_that_of_the_cells_of_the_sketch(model, panel):
    predictor, adaptation = fitted(model, panel)
    cells = HeldOutCells.from_arrays(predictor.arrays, predictor.spec)
    assert predictor.spec.calibration.unit == "cell"
    assert predictor.spec.calibration.n_obs == len(cells.truth) == 120
    assert 0.8 < adaptation.macro_f1 <= 1
    assert adaptation.expected_macro_f1 is not None
    assert predictor.promise(0.1).unit == "cell"
    assert predictor.promise(0.1).n_units == 120


def test_the_model_itself_stays_as_it_is(model, panel):
    before = copy.deepcopy(model.module.state_dict()), model.spec, dict(model._arrays)
    fitted(model, panel)
    assert all((model.module.state_dict()[name] == values).all() for name, values in before[0].items())
    assert model.spec == before[1]
    assert model._arrays.keys() == before[2].keys()


def test_the_same_query_gives_the_same_model(model, panel):
    first, second = (fitted(model, panel, "query")[0].networks[0].state_dict() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_an_adapted_model_can_be_sent_to_other_processes(model, panel):
    predictor, _ = fitted(model, panel)
    again = pickle.loads(pickle.dumps(predictor))
    assert (labels(again, panel) == labels(predictor, panel)).all()


def with_types(model, n_types):
    """The model with a sketch of its first types alone."""
    predictor = model.predictor
    size = {"n_genes": len(predictor.spec.features), "n_labels": len(predictor.spec.labels)}
    sketch = ReferenceSketch.from_arrays(predictor.arrays, **size)
    kept = sketch.codes < n_types
    predictor.arrays = {**predictor.arrays, **ReferenceSketch(sketch.counts[kept], sketch.codes[kept]).to_arrays()}
    return predictor


class TestGenesThatMatterLittle:
    """A query that covers too little of the importance of the genes of a model."""

    @pytest.fixture
    def rest(self, model):
        kept = np.sort(np.argsort(model.predictor.gene_importance)[:36])
        adata = make_reference(150, seed=5)[:, kept].copy()
        assert model.predictor.open_query(adata).match.coverage < 0.5
        return adata

    @pytest.mark.parametrize("adapt", ["auto", False])
    def test_are_refused_with_what_would_help(self, model, rest, adapt):
        with pytest.raises(GeneOverlapError, match=r"refit the model to these genes with `adapt='query'`, or check") as error:
            annotate(rest, model, adapt=adapt, min_gene_coverage=0.5)
        assert "with `--adapt query`, or" in error.value.message.in_shell({"adapt": "--adapt"})
        without = train(make_reference(), sketch=0)
        with pytest.raises(GeneOverlapError, match="Annotate it before that, or check"):
            annotate(rest, without, min_gene_coverage=0.5)

    @pytest.mark.parametrize("adapt", ["genes", "query"])
    def test_are_no_obstacle_to_a_refit(self, model, rest, adapt, tmp_path):
        rest.write_h5ad(tmp_path / "a.h5ad")
        with warnings.catch_warnings(action="ignore"):
            annotate(rest, model, adapt=adapt, min_gene_coverage=0.5)
            annotate_files(tmp_path / "a.h5ad", model, output=tmp_path / "a.csv", adapt=adapt, min_gene_coverage=0.5)
        assert rest.uns["sctab"]["adapted"]["n_genes"] == 36
        assert (tmp_path / "a.csv").is_file()

    def test_another_species_is_refused_all_the_same(self, model, panel):
        panel.var_names = [f"other{i}" for i in range(panel.n_vars)]
        panel.var = panel.var[[]]
        with pytest.raises(GeneOverlapError, match="None of the model's"):
            annotate(panel, model, adapt="query")


class TestAuto:
    def test_refits_where_the_model_misses_genes_that_it_needs(self):
        adata = make_reference()
        model = train(adata)
        weights = np.abs(model.module.classifier.weight.detach().numpy()).sum(axis=0)
        kept = np.sort(np.argsort(weights)[:36])  # those that matter least, a few markers among them
        _, adaptation = fitted(model, make_reference(150, seed=5)[:, kept].copy(), "auto")
        assert adaptation is not None
        assert adaptation.to == "query"
        assert adaptation.macro_f1 >= adaptation.expected_macro_f1

    def test_leaves_a_model_that_is_expected_to_do_better(self, monkeypatch, model, panel):
        import sctab.inference._adapt as module

        scores = iter([0.5, 0.9, 0.8, 0.95])  # in cross-validation; of the model with all genes, with those measured, and held out
        monkeypatch.setattr(module, "macro_f1_of_codes", lambda *_: next(scores))
        predictor, adaptation = fitted(model, panel, "auto")
        assert adaptation is None
        assert predictor.networks == model.predictor.networks

    def test_goes_by_coverage_without_held_out_cells(self, panel):
        model = train(make_reference(), calibrate=False)
        _, adaptation = fitted(model, panel, "auto")
        assert adaptation.expected_macro_f1 is None
        assert fitted(model, make_reference(150, seed=5), "auto")[1] is None

    @pytest.mark.parametrize("n_types", [1, 2])
    def test_leaves_a_model_whose_sketch_lacks_types(self, model, panel, n_types):
        """The refitted model would give all cells the types that are left, and be perfect by cross-validation on these."""
        predictor, adaptation = adapted(with_types(model, n_types), [model.predictor.open_query(panel)], "auto")
        assert adaptation is None
        assert set(labels(predictor, panel)) == set(panel.obs["cell_type"])

    @pytest.mark.parametrize("adapt", ["auto", False])
    def test_a_model_without_a_sketch_stays_as_it_is(self, panel, adapt):
        predictor = train(make_reference(), sketch=0).predictor
        found, adaptation = adapted(predictor, [predictor.open_query(panel)], adapt)
        assert found is predictor
        assert adaptation is None


class TestRefused:
    def test_a_sketch_of_one_type(self, model, panel):
        with pytest.raises(
            SettingError, match=r"of several types, and that of this model has one type. Train it again with `sketch=2000`"
        ):
            annotate(panel, with_types(model, 1), adapt="genes")
        assert "sctab" not in panel.uns

    @pytest.mark.parametrize("adapt", ["auto", "genes", "query"])
    def test_a_sketch_that_cannot_be_normalised(self, model, panel, adapt):
        predictor = model.predictor
        tiny = predictor.arrays["sketch.values"] * np.float32(1e-40)
        predictor.arrays = {**predictor.arrays, "sketch.values": tiny}
        with pytest.raises(ModelFormatError, match="its counts are too small to be normalised. Copy the model again"):
            annotate(panel, predictor, adapt=adapt)

    @pytest.mark.parametrize("adapt", ["gene", True, None, 1])
    def test_an_unknown_way(self, model, panel, adapt):
        with pytest.raises(SettingError, match=r"is unknown. Choose `auto`, `genes` or `query`, or `adapt=False`\.$"):
            annotate(panel, model, adapt=adapt)
        assert "sctab" not in panel.uns

    def test_an_unknown_way_on_the_command_line(self):
        with pytest.raises(SettingError) as error:
            check_adapt("False")
        assert error.value.message.in_shell({"adapt": "--adapt"}) == (
            "`--adapt False` is unknown. Choose `auto`, `genes` or `query`, or `none`."
        )

    def test_a_model_without_a_sketch(self, panel):
        model = train(make_reference(), sketch=0)
        with pytest.raises(SettingError, match=r"needs a model that keeps a sketch .* Train it again with `sketch=2000`\.$"):
            annotate(panel, model, adapt="genes")

    @pytest.mark.parametrize("sketch", [-1, 0.5, True, "many"])
    def test_a_sketch_that_is_no_number_of_cells(self, sketch):
        with pytest.raises(SettingError, match="must be a number of cells"):
            train(make_reference(60), sketch=sketch)

    def test_a_damaged_sketch(self, model, panel):
        predictor = model.predictor
        predictor.arrays = {**predictor.arrays, "sketch.labels": np.full(120, 99, dtype=np.int32)}
        with pytest.raises(ModelFormatError, match="sketch of the reference"):
            annotate(panel, predictor)

    def test_files_that_measure_different_genes(self, model, panel, tmp_path):
        panel.write_h5ad(tmp_path / "a.h5ad")
        panel[:, 5:].copy().write_h5ad(tmp_path / "b.h5ad")
        inputs = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
        with pytest.raises(SettingError, match="needs files that measure the same genes"):
            annotate_files(inputs, model, output=tmp_path / "labels.csv", adapt="genes")
        with warnings.catch_warnings(action="ignore"):
            done = annotate_files(inputs, model, output=tmp_path / "labels.csv")
        assert all("adapted" not in run for run in done.runs.values())


class TestAnnotate:
    @pytest.mark.parametrize("adapt", ["genes", "query"])
    def test_results_say_how_the_model_was_fitted(self, model, panel, adapt):
        with warnings.catch_warnings(action="ignore"):
            annotate(panel, model, adapt=adapt, accepted_error=0.1)
        run = panel.uns["sctab"]
        assert any("refitted to the 30 of its genes that the data has" in note for note in run["warnings"])
        assert run["adapted"].keys() == {"to", "n_cells", "n_genes", "macro_f1", "expected_macro_f1", "seconds"}
        assert run["promise"]["unit"] == "cell"
        assert (panel.obs["sctab_label"].astype(str) == panel.obs["cell_type"].astype(str)).mean() > 0.95

    def test_files_give_what_memory_gives(self, model, panel, tmp_path):
        model.save(tmp_path / "model")
        panel.write_h5ad(tmp_path / "a.h5ad")
        with warnings.catch_warnings(action="ignore"):
            annotate(panel, tmp_path / "model", adapt="query", accepted_error=0.2)
            annotate_files(
                tmp_path / "a.h5ad",
                tmp_path / "model",
                output=tmp_path / "b.h5ad",
                adapt="query",
                accepted_error=0.2,
                block_size=40,
            )
        import anndata as ad

        found = ad.read_h5ad(tmp_path / "b.h5ad")
        assert found.obs["sctab_label"].tolist() == panel.obs["sctab_label"].tolist()
        assert found.obs["sctab_term"].tolist() == panel.obs["sctab_term"].tolist()
        np.testing.assert_allclose(found.obs["sctab_confidence"], panel.obs["sctab_confidence"], atol=1e-6)
        assert found.uns["sctab"]["adapted"]["n_genes"] == 30

    def test_unseen_types_are_looked_for_as_before(self, model, panel):
        with warnings.catch_warnings(action="ignore"):
            annotate(panel, model, adapt="genes", unseen_fdr=0.1, force=True)
        assert "sctab_is_unseen" in panel.obs


@pytest.mark.parametrize("kind", ["ensemble", "mlp"])
def test_every_class_can_be_refitted(kind, panel, tmp_path):
    adata = make_reference()
    if kind == "mlp":
        model = train(adata, MLPClassifier, max_epochs=2)
    else:
        model = DeepEnsemble(LinearClassifier, 2)
        model.setup_anndata(adata, "cell_type", donor_key="donor_id")
        with warnings.catch_warnings(action="ignore"):
            model.train(sketch=120, max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    model.save(tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    n_genes, n_labels = len(predictor.spec.features), len(predictor.spec.labels)
    assert len(ReferenceSketch.from_arrays(predictor.arrays, n_genes=n_genes, n_labels=n_labels).codes) == 120
    found, adaptation = adapted(predictor, [predictor.open_query(panel)], "query")
    assert adaptation.n_genes == 30
    assert (labels(found, panel) == panel.obs["cell_type"].astype(str)).mean() > 0.95
