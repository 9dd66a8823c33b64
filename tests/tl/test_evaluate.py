"""`tl.evaluate` on a real annotation, against scikit-learn on labels that were corrected by hand."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, roc_auc_score
from tests.annotated import annotated as made
from tests.reference import make_reference

import sctab
from sctab import KeyNotFoundError, LabelError, SctabWarning
from sctab.model import LinearClassifier
from sctab.ontology import CellOntology

TRUTH = {
    "CD14+ Monocyte": "CL:0000576",  # an id
    "CD19+ B": "B-lymphocyte",  # a synonym
    "Dendritic": "dendritic cell",
    "CD56+ NK": "lymphocyte",  # a parent of what the model knows
    "CD4+/CD25 T Reg": "CD4-positive, CD25-positive, alpha-beta regulatory T cell",  # a subtype of what the model knows
    "CD34+": "cluster 7",  # no cell type
}
LYMPHOCYTES = ["B cell", "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "natural killer cell"]
REGULATORY = "CD4-positive, CD25-positive, alpha-beta regulatory T cell"


FINE = {  # labels of the authors as terms of the Cell Ontology, and the labels of the model that are the same or above
    "CD14+ Monocyte": ("CL:0001054", "monocyte"),
    "CD19+ B": ("CL:0000236", "B cell"),
    "CD34+": ("CL:0008001", "hematopoietic precursor cell"),
    "CD4+/CD25 T Reg": ("CL:0000792", "CD4-positive, alpha-beta T cell"),
    "CD4+/CD45RA+/CD25- Naive T": ("CL:0000895", "CD4-positive, alpha-beta T cell"),
    "CD4+/CD45RO+ Memory": ("CL:0000897", "CD4-positive, alpha-beta T cell"),
    "CD56+ NK": ("CL:0000623", "natural killer cell"),
    "CD8+ Cytotoxic T": ("CL:0000794", "CD8-positive, alpha-beta T cell"),
    "CD8+/CD45RA+ Naive Cytotoxic": ("CL:0000900", "CD8-positive, alpha-beta T cell"),
    "Dendritic": ("CL:0000451", "dendritic cell"),
}


@pytest.fixture(scope="module")
def annotated():
    """Cells annotated by a model of broad labels, which has learned some regulatory T cells as natural killer cells."""
    adata = sc.datasets.pbmc68k_reduced()
    reference = adata.raw.to_adata()
    reference.obs["label"] = reference.obs["bulk_labels"].map({label: name for label, (_, name) in FINE.items()})
    regulatory = reference.obs_names[reference.obs["bulk_labels"] == "CD4+/CD25 T Reg"]
    reference.obs.loc[regulatory[::2], "label"] = "natural killer cell"
    with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
        LinearClassifier.setup_anndata(reference, "label")
        model = LinearClassifier(reference)
        model.train(max_epochs=8, seed=0, accelerator="cpu", enable_progress_bar=False, calibrate=False)
        sctab.tl.annotate(adata, model)
    adata.obs["truth"] = adata.obs["bulk_labels"].map(TRUTH)
    adata.obs["donor"] = [f"donor {i % 7}" for i in range(adata.n_obs)]
    return adata


@pytest.fixture
def adata(annotated):
    return annotated.copy()


def evaluate(adata, labels_key="truth", **options):
    """The scores, and what was noted."""
    with pytest.warns(SctabWarning) as caught:
        sctab.tl.evaluate(adata, labels_key, **{"show": False, "n_bootstrap": 0} | options)
    assert [str(warning.message) for warning in caught] == list(adata.uns["sctab_evaluation"]["notes"])
    return adata.uns["sctab_evaluation"]


def by_hand(adata):
    """Known labels as the model calls them, labels of the model, and these with right subtypes replaced."""
    cells = adata.obs["truth"].notna()
    truth = adata.obs["truth"][cells].astype(str).replace({"CL:0000576": "monocyte", "B-lymphocyte": "B cell"})
    predicted = adata.obs["sctab_label"][cells].astype(str)
    return truth, predicted, predicted.where(~((truth == "lymphocyte") & predicted.isin(LYMPHOCYTES)), truth)


def brier(truth, probabilities):
    return ((probabilities - pd.get_dummies(truth).reindex(columns=probabilities.columns, fill_value=0)) ** 2).sum(axis=1).mean()


def values(table, *, corrected):
    return table[table["corrected"] == corrected].set_index("metric")["value"]


class TestScores:
    def test_overall(self, adata):
        table = evaluate(adata)["overall"]
        truth, predicted, right = by_hand(adata)
        for corrected, labels in ((False, predicted), (True, right)):
            found = values(table, corrected=corrected)
            types = sorted(set(truth))
            assert found["accuracy"] == pytest.approx(accuracy_score(truth, labels))
            assert found["macro_f1"] == pytest.approx(f1_score(truth, labels, labels=types, average="macro", zero_division=0))
            assert found["weighted_f1"] == pytest.approx(f1_score(truth, labels, labels=types, average="weighted", zero_division=0))
            uncertainty = adata.obs.loc[truth.index, "sctab_uncertainty"]
            assert found["auroc"] == pytest.approx(roc_auc_score(truth != labels, uncertainty))
        assert values(table, corrected=True)["accuracy"] > values(table, corrected=False)["accuracy"]

    def test_of_probabilities(self, adata):
        table = evaluate(adata)["overall"]
        truth, _, _ = by_hand(adata)
        probabilities = adata.obsm["sctab_probabilities"].loc[truth.index].astype(np.float64)
        probabilities = probabilities.div(probabilities.sum(axis=1), axis=0)
        direct = truth.isin(probabilities.columns)
        labels = sorted(probabilities.columns)
        found = values(table, corrected=False)
        assert found["cross_entropy"] == pytest.approx(
            log_loss(truth[direct], probabilities.loc[direct, labels], labels=labels), rel=1e-3
        )
        assert found["brier"] == pytest.approx(brier(truth[direct], probabilities.loc[direct, labels]), rel=1e-4)

        under = truth == "lymphocyte"
        merged = probabilities.assign(lymphocyte=0.0)
        merged.loc[under, "lymphocyte"] = merged.loc[under, LYMPHOCYTES].sum(axis=1)
        merged.loc[under, LYMPHOCYTES] = 0
        known, labels = direct | under, sorted(merged.columns)
        found = values(table, corrected=True)
        assert found["cross_entropy"] == pytest.approx(log_loss(truth[known], merged.loc[known, labels], labels=labels), rel=1e-3)
        assert found["brier"] == pytest.approx(brier(truth[known], merged.loc[known, labels]), rel=1e-4)
        cells = table.set_index(["metric", "corrected"])["cells"]
        assert (cells["brier", False], cells["brier", True]) == (direct.sum(), known.sum())
        assert cells["accuracy", True] == len(truth)

    def test_per_type(self, adata):
        table = evaluate(adata)["types"].query("corrected").set_index("type")
        truth, _, right = by_hand(adata)
        assert set(table.index) == {*truth, *right}
        for name, row in table.iterrows():
            assert row["cells"] == (truth == name).sum()
            assert row["predicted"] == (right == name).sum()
            assert row["precision"] == pytest.approx(precision_score(truth, right, labels=[name], average="macro", zero_division=0))
        assert table.loc["B cell", "id"] == "CL:0000236"
        assert table.loc["lymphocyte", "id"] == "CL:0000542"
        assert table.loc["cluster 7", "id"] == ""
        assert table.loc["cluster 7", "recall"] == table.loc[REGULATORY, "recall"] == 0
        assert np.isnan(table.loc["natural killer cell", "recall"])  # no cell is known to be one
        assert table.loc["natural killer cell", "f1"] == 0

    def test_per_group(self, adata):
        adata.obs.loc[adata.obs_names[:50], "phase"] = np.nan
        table = evaluate(adata, group_keys=["phase", "donor"])["groups"]
        truth, predicted, right = by_hand(adata)
        assert set(table["key"]) == {"phase", "donor"}
        for row in table.itertuples():
            here = adata.obs.loc[truth.index, row.key].astype(str) == row.group
            assert row.cells == here.sum()
            if row.level != "shared":
                assert row.accuracy == pytest.approx(accuracy_score(truth[here], (right if row.corrected else predicted)[here]))
        assert "groups" not in evaluate(adata)
        pd.testing.assert_frame_equal(
            evaluate(adata, group_keys="donor")["groups"], table[table["key"] == "donor"].reset_index(drop=True)
        )

    def test_intervals(self, adata):
        of_cells = evaluate(adata, n_bootstrap=50)["overall"]
        of_donors = evaluate(adata, n_bootstrap=50, donor_key="donor")["overall"]
        for table in (of_cells, of_donors):
            found = table[table["metric"].isin(["accuracy", "weighted_f1", "brier"])]
            assert (found["low"] < found["value"]).all()
            assert (found["high"] > found["value"]).all()
        assert not of_cells["low"].equals(of_donors["low"])
        pd.testing.assert_frame_equal(evaluate(adata, n_bootstrap=50, donor_key="donor")["overall"], of_donors)
        assert not evaluate(adata, n_bootstrap=50, seed=1)["overall"]["low"].equals(of_cells["low"])

    def test_a_model_is_right_about_itself(self, adata):
        sctab.tl.evaluate(adata, "sctab_label", show=False, n_bootstrap=0)
        evaluation = adata.uns["sctab_evaluation"]
        assert evaluation["notes"] == []
        assert values(evaluation["overall"], corrected=False)[["accuracy", "macro_f1", "weighted_f1"]].tolist() == [1, 1, 1]


class TestCells:
    def test_notes(self, adata):
        notes = " ".join(evaluate(adata)["notes"])
        assert "1 of 6 known labels is not in the Cell Ontology" in notes
        assert "is compared by name: `cluster 7`." in notes
        n_missing = int(adata.obs["truth"].isna().sum())
        assert f"{n_missing} of 700 cells have no label in `adata.obs['truth']` and do not count." in notes
        n_unknown = {name: int((adata.obs["truth"] == name).sum()) for name in ("cluster 7", REGULATORY)}
        assert (
            f"{sum(n_unknown.values())} of {700 - n_missing} cells are of types that are neither a label of the model nor "
            "a parent of one" in notes
        )
        assert "As labelled, they count as wrong; `only_known=True` leaves them out." in notes
        assert f"{n_unknown[REGULATORY]} of them are of subtypes of its labels, compared with the broader label" in notes

    def test_confusion_that_only_strict_scores_count(self):
        """Authors who name a type and its subtype mean two types, and a term above the other makes each confusion right."""
        broad, fine = "CD14-positive monocyte", "CD14-low, CD16-positive monocyte"
        adata = made(("B cell", broad, fine), (20, 15, 30))
        adata.obs["sctab_uncertainty"] = 1 - adata.obs["sctab_confidence"]
        adata.obs["truth"] = ["B cell"] * 20 + [broad] * 15 + [broad] * 12 + [fine] * 18
        evaluation = evaluate(adata)
        assert values(evaluation["overall"], corrected=True)["accuracy"] == 1
        assert values(evaluation["overall"], corrected=False)["accuracy"] == pytest.approx(53 / 65)
        (note,) = (note for note in evaluation["notes"] if "counts as right" in note)
        assert f"labelled as it: 12 of `{broad}` that are called `{fine}`. As labelled, these cells are wrong." in note
        adata.obs["truth"] = ["B cell"] * 20 + [broad] * 45  # authors without a name for the subtype
        assert not any("counts as right" in note for note in evaluate(adata)["notes"])

    def test_only_known(self, adata):
        evaluation = evaluate(adata, only_known=True)
        truth, _, right = by_hand(adata)
        known = ~truth.isin(["cluster 7", REGULATORY])
        assert values(evaluation["overall"], corrected=True)["accuracy"] == pytest.approx(
            accuracy_score(truth[known], right[known])
        )
        assert "They do not count." in " ".join(evaluation["notes"])

    def test_a_cell_without_a_prediction_is_wrong(self, adata):
        here = np.flatnonzero(adata.obs["truth"] == "dendritic cell")[:10]
        adata.obs["sctab_label"] = adata.obs["sctab_label"].astype(object)
        adata.obs.iloc[here, adata.obs.columns.get_indexer(["sctab_label", "sctab_uncertainty"])] = np.nan
        adata.obsm["sctab_probabilities"].iloc[here] = np.nan
        found = values(evaluate(adata)["overall"], corrected=False)
        truth, predicted, _ = by_hand(adata)
        assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted.fillna("none")))
        assert found.notna().all()

    def test_no_cell_is_left(self, adata):
        adata.obs["nothing"] = np.nan
        with pytest.raises(
            LabelError, match=r"`adata\.obs\['nothing'\]` has no label to compare with\. 700 of 700 cells have no label"
        ):
            sctab.tl.evaluate(adata, "nothing")
        adata.obs["unknown"] = "hepatocyte"
        with pytest.raises(LabelError, match=r"no label to compare with\. 700 of 700 cells are of a type that"):
            sctab.tl.evaluate(adata, "unknown", only_known=True)
        assert "sctab_evaluation" not in adata.uns

    @pytest.mark.parametrize("kind", [pd.Categorical, lambda labels: pd.array(labels, dtype="string"), np.array])
    def test_labels_of_every_kind(self, adata, kind):
        expected = evaluate(adata)["overall"]
        labels = adata.obs["truth"].astype(object).to_numpy()
        adata.obs["same"] = kind(labels)
        pd.testing.assert_frame_equal(evaluate(adata, "same")["overall"], expected)


class TestNeverPredicted:
    """A known type that is right by its subtypes alone."""

    def test_it_is_noted(self, adata):
        here = adata.obs["truth"] == "lymphocyte"
        called = adata.obs.loc[here, "sctab_label"].astype(str).value_counts()
        assert set(called.index[:2]) <= set(LYMPHOCYTES)
        note = evaluate(adata)["notes"][-1]
        assert note.startswith("1 known type was never predicted, and the corrected scores count subtypes as right: ")
        assert f"`lymphocyte`, whose {here.sum()} cells are called `{called.index[0]}` ({called.iloc[0]})" in note

    def test_it_is_not_noted_of_few_cells_nor_where_it_is_predicted_or_wrong(self, adata):
        few = np.flatnonzero(adata.obs["truth"] == "lymphocyte")[9:]
        adata.obs.iloc[few, adata.obs.columns.get_loc("truth")] = np.nan
        assert "never predicted" not in " ".join(evaluate(adata)["notes"])
        adata.obs["truth"] = adata.obs["sctab_label"]
        sctab.tl.evaluate(adata, "truth", show=False, n_bootstrap=0)
        assert adata.uns["sctab_evaluation"]["notes"] == []


class TestWithoutProbabilities:
    def test_labels_are_scored_and_it_is_said(self, adata):
        expected = evaluate(adata, group_keys="phase", n_bootstrap=5)
        del adata.obsm["sctab_probabilities"]
        found = evaluate(adata, group_keys="phase", n_bootstrap=5)
        assert "`adata.obsm['sctab_probabilities']` no longer exists: `cross_entropy`" in " ".join(found["notes"])
        kept = expected["overall"].query("metric in ['accuracy', 'macro_f1', 'weighted_f1', 'auroc']").reset_index(drop=True)
        pd.testing.assert_frame_equal(found["overall"], kept)
        for name in ("types", "groups"):
            pd.testing.assert_frame_equal(found[name], expected[name])


class TestSharedLevel:
    """Where the authors' labels are finer than those of the model, or coarser."""

    @pytest.fixture
    def fine(self, adata):
        adata.obs["fine"] = adata.obs["bulk_labels"].map({label: term for label, (term, _) in FINE.items()})
        adata.obs["coarse"] = adata.obs["bulk_labels"].map({label: name for label, (_, name) in FINE.items()})
        return adata

    def test_finer_labels_are_scored_as_those_of_the_model(self, fine):
        tables = evaluate(fine, "fine", group_keys="phase")
        truth, predicted = fine.obs["coarse"].astype(str), fine.obs["sctab_label"].astype(str)
        found = tables["overall"].query("level == 'shared'").set_index("metric")["value"]
        assert tables["overall"]["level"][0] == "shared"
        assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        types = sorted(set(truth))
        assert found["macro_f1"] == pytest.approx(f1_score(truth, predicted, labels=types, average="macro", zero_division=0))
        probabilities = fine.obsm["sctab_probabilities"].astype(np.float64)
        probabilities = probabilities.div(probabilities.sum(axis=1), axis=0)
        assert found["brier"] == pytest.approx(brier(truth, probabilities), rel=1e-4)
        finer = [term for term, name in FINE.values() if CellOntology.embedded().name(term) != name]
        strict = truth.where(~fine.obs["fine"].isin(finer), "finer")
        assert values(tables["overall"], corrected=False)["accuracy"] == pytest.approx(accuracy_score(strict, predicted))
        per_type = tables["types"].query("level == 'shared'").set_index("type")
        assert per_type["cells"].to_dict() == truth.value_counts().to_dict()
        for row in tables["groups"].query("level == 'shared'").itertuples():
            here = fine.obs["phase"].astype(str) == row.group
            assert row.accuracy == pytest.approx(accuracy_score(truth[here], predicted[here]))

    def test_it_is_told_and_listed(self, fine):
        tables = evaluate(fine, "fine")
        levels = tables["levels"].set_index("id")
        assert levels["compared_as"].to_dict() == dict(FINE.values())
        assert levels["level"].value_counts().to_dict() == {"finer": 6, "the same": 4}
        accuracy = tables["overall"].query("metric == 'accuracy'").set_index("level")["value"]
        assert any(
            note.startswith("6 of 10 known types are finer than the model's labels. At the level that both share, accuracy is ")
            and f"{accuracy['shared']:.3f}, and {accuracy['as labelled']:.3f} as labelled" in note
            and "`CD14-positive monocyte` as `monocyte`" in note
            for note in tables["notes"]
        )

    def test_labels_as_authors_write_them(self, fine):
        as_terms = evaluate(fine, "fine")["overall"]
        pd.testing.assert_frame_equal(evaluate(fine, "bulk_labels")["overall"], as_terms)

    def test_coarser_labels_are_right_by_subtypes(self, fine):
        fine.obs["broad"] = fine.obs["bulk_labels"].map(
            {"CD19+ B": "lymphocyte", "CD56+ NK": "lymphocyte", "Dendritic": "dendritic cell"}
        )
        table = evaluate(fine, "broad")["overall"]
        for metric in ("accuracy", "macro_f1", "brier"):
            shared = table.query("level == 'shared'").set_index("metric")["value"]
            assert shared[metric] == values(table, corrected=True)[metric] != values(table, corrected=False)[metric]

    def test_label_ids(self, fine):
        fine.obs["mine"] = fine.obs["bulk_labels"].astype(str).map({"CD19+ B": "b7", "CD14+ Monocyte": "m3"})
        tables = evaluate(fine, "mine", label_ids={"b7": "CL:0000236", "m3": "CL:0001054"})
        assert tables["levels"]["compared_as"].tolist() == ["B cell", "monocyte"]
        assert tables["levels"]["level"].tolist() == ["the same", "finer"]

    def test_strings_for_missing_labels_do_not_count(self, fine):
        fine.obs["fine"] = fine.obs["fine"].astype(object).where(fine.obs["fine"] != "CL:0000236", "nan")
        tables = evaluate(fine, "fine")
        assert tables["overall"]["cells"][0] == int((fine.obs["fine"] != "nan").sum())
        assert "Known labels that denote a missing label: 'nan'. Their cells do not count." in tables["notes"]


class TestRefusals:
    def test_labels_of_which_none_can_be_right(self, adata):
        message = (
            r"^None of the 11 different labels in `adata\.obs\['louvain'\]` is a label of the model or in the Cell Ontology \(v.*\), "
            r"so no cell could be right: `0`, `1`, .*\. Name a column of cell types, or translate .* labels of the model: `B cell`"
        )
        with pytest.raises(LabelError, match=message):
            sctab.tl.evaluate(adata, "louvain")
        assert "sctab_evaluation" not in adata.uns

    def test_without_an_annotation(self, adata):
        with pytest.raises(
            KeyNotFoundError, match=r"no annotation under `mine`\..* Run `sctab\.tl\.annotate\(adata, model, key_added='mine'\)`"
        ):
            sctab.tl.evaluate(adata, "truth", key_added="mine")

    @pytest.mark.parametrize("options", [{"donor_key": "who"}, {"group_keys": ["phase", "who"]}, {"labels_key": "who"}])
    def test_a_column_that_is_not_there(self, adata, options):
        parameter = next(iter(options))
        with pytest.raises(KeyNotFoundError, match=rf"`{parameter}=.*who.*` is not in `adata\.obs`\. Columns: `bulk_labels`"):
            sctab.tl.evaluate(adata, **{"labels_key": "truth"} | options)

    def test_a_cell_without_a_donor(self, adata):
        adata.obs.loc[adata.obs_names[:30], "donor"] = np.nan
        n_scored = int(adata.obs["truth"].notna().sum())
        n_without = int(adata.obs["truth"][:30].notna().sum())
        with pytest.raises(LabelError, match=rf"has no donor \(NaN\) for {n_without} of {n_scored} cells that are scored"):
            sctab.tl.evaluate(adata, "truth", donor_key="donor")


class TestOntology:
    def test_it_is_that_of_the_model(self, adata):
        oldest = CellOntology.embedded_versions()[0]
        adata.uns["sctab"]["model"]["ontology_version"] = oldest
        assert evaluate(adata)["ontology_version"] == oldest
        assert evaluate(adata, ontology=CellOntology.embedded())["ontology_version"] == CellOntology.embedded().version

    def test_one_that_is_not_embedded(self, adata):
        adata.uns["sctab"]["model"]["ontology_version"] = "v2001-01-01"
        evaluation = evaluate(adata)
        assert evaluation["ontology_version"] == CellOntology.embedded().version
        assert "release v2001-01-01 of the Cell Ontology, which is not embedded" in evaluation["notes"][0]

    def test_labels_that_it_once_knew(self, adata):
        adata.obs["truth"] = "native cell"
        evaluation = evaluate(adata)
        assert "`native cell` is obsolete" in evaluation["notes"][0]
        assert values(evaluation["overall"], corrected=True)["accuracy"] == 1  # every cell is one


class TestWhatIsWritten:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_it_can_be_stored(self, adata, tmp_path, suffix):
        evaluate(adata, group_keys="phase", donor_key="donor", n_bootstrap=5)
        path = tmp_path / f"a{suffix}"
        adata.write_h5ad(path) if suffix == ".h5ad" else adata.write_zarr(path)
        again = ad.read_h5ad(path) if suffix == ".h5ad" else ad.read_zarr(path)
        for table in ("overall", "types", "groups"):
            pd.testing.assert_frame_equal(sctab.get.evaluation(again, table), sctab.get.evaluation(adata, table), check_dtype=False)
        stored, written = again.uns["sctab_evaluation"], adata.uns["sctab_evaluation"]
        assert list(stored["notes"]) == written["notes"]
        for key in ("labels_key", "donor_key", "ontology_version", "only_known", "n_bootstrap", "seed"):
            assert stored[key] == written[key]
        pd.testing.assert_frame_equal(evaluate(again, n_bootstrap=0)["overall"], evaluate(adata, n_bootstrap=0)["overall"])

    def test_copy(self, adata):
        with pytest.warns(SctabWarning):
            copied = sctab.tl.evaluate(adata, "truth", copy=True, show=False, n_bootstrap=0)
        assert "sctab_evaluation" in copied.uns
        assert "sctab_evaluation" not in adata.uns

    def test_numbers_of_cells_are_integers(self, adata):
        adata.obs["nobody"] = np.nan
        evaluation = evaluate(adata, group_keys=["phase", "nobody"])
        for name in ("overall", "types", "groups"):
            assert evaluation[name]["cells"].dtype == np.int64
        assert evaluation["types"]["predicted"].dtype == np.int64
        assert set(evaluation["groups"]["key"]) == {"phase"}
        assert list(evaluate(adata, group_keys="nobody")["groups"].columns) == list(evaluation["groups"].columns)

    def test_what_is_printed_says_which_is_which(self, adata, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        types = evaluate(adata, show=True, group_keys="phase")["types"].set_index(["type", "level"])
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        strict = lines[lines.index("As labelled, and corrected:") :]
        assert lines.index("At the level that both sides share:") < lines.index("As labelled, and corrected:")
        lines = strict
        above, heading = (
            next((i, line.split()) for i, line in enumerate(lines) if line.startswith(word)) for word in ("type", "key")
        )
        assert lines[above[0] - 1].split() == lines[heading[0] - 1].split() == ["as", "labelled", "corrected"]
        assert above[1] == ["type", "cells", "predicted", "F1", "precision", "recall", "F1"]
        assert heading[1] == ["key", "group", "cells", "accuracy", "macro", "F1", "accuracy", "macro", "F1"]
        plain, corrected = types.loc["lymphocyte", "as labelled"], types.loc["lymphocyte", "corrected"]
        assert corrected["recall"] > 0.5
        numbers = [str(plain["cells"]), "0", "0.000", *(f"{corrected[name]:.3f}" for name in ("precision", "recall", "f1"))]
        assert next(line for line in lines if line.startswith("lymphocyte")).split()[1:] == numbers

    def test_numbers_of_cells_are_printed_as_whole_numbers(self, adata, capsys):
        """Where no corrected score has the types that were predicted, and one has others."""
        adata.obs["truth"] = np.where(np.arange(adata.n_obs) < 10, "hepatocyte", "neuron")
        evaluate(adata, show=True)
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["hepatocyte", "10", "0", "0.000", "0.000", "0.000"] in lines

    def test_it_is_printed(self, adata, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "160")
        evaluate(adata, show=True, group_keys="phase", n_bootstrap=5)
        printed = capsys.readouterr().out
        table = adata.uns["sctab_evaluation"]["overall"]
        for text in (
            f"{table['value'][0]:.3f} ({table['low'][0]:.3f} to {table['high'][0]:.3f})",
            "B cell",
            "G2M",
            "corrected",
        ):
            assert text in printed
        evaluate(adata)
        assert capsys.readouterr().out == ""


def test_labels_that_share_an_id_are_not_the_same(adata):
    """A model with two labels for one term, which takes each for the other."""
    labels = np.where(np.arange(adata.n_obs) % 2, "mine", "pDC")
    adata.uns["sctab"]["labels"] = {"names": np.array(["mine", "pDC"]), "ids": np.array(["CL:0000784", "CL:0000784"])}
    adata.obs["truth"], adata.obs["sctab_label"] = labels, np.where(labels == "pDC", "mine", "pDC")
    del adata.obsm["sctab_probabilities"]
    tables = evaluate(adata)
    assert tables["overall"].query("metric == 'accuracy'")["value"].tolist() == [0, 0, 0]
    share = (
        "The model's labels `mine`, `pDC` share the id `CL:0000784`, so that the Cell Ontology cannot tell them apart, and are compared "
        "by name. "
    )
    swapped = (
        "700 of 700 cells of these types are called another one of them, which counts as wrong at every level. If the labels are names "
        "of one type, give them one name and train again."
    )
    assert share + swapped in tables["notes"]
    adata.obs["truth"] = "plasmacytoid dendritic cell"  # either is right, and neither is the same
    tables = evaluate(adata)
    accuracy = tables["overall"].query("metric == 'accuracy'").set_index("level")["value"]
    assert accuracy.to_dict() == {"shared": 1, "as labelled": 0, "corrected": 1}
    by_another_name = (
        "700 of 700 cells are known as this type by another name: as labelled, none of the labels is right for them; at the shared "
        "level and corrected, each is."
    )
    assert share + by_another_name in tables["notes"]
    assert not any("never predicted" in note for note in tables["notes"])


class TestNamesOfTypesThatShareAnId:
    """The model has the ontology's own name and another one for one term."""

    LABELS = ("pDC", "plasmacytoid dendritic cell", "monocyte")

    @pytest.fixture
    def adata(self, adata):
        ids = ["CL:0000784", "CL:0000784", "CL:0000576"]
        adata.uns["sctab"]["labels"] = {"names": np.array(self.LABELS), "ids": np.array(ids)}
        del adata.obsm["sctab_probabilities"]
        adata.obs["sctab_label"] = np.array(self.LABELS)[np.arange(adata.n_obs) % 3]
        return adata

    @pytest.mark.parametrize("known", ["CL:0000784", "plasmacytoid dendritic cells", "IPC"])
    def test_a_known_type_is_told_from_the_label_of_its_name(self, adata, known):
        adata.obs["truth"] = adata.obs["sctab_label"].replace({"pDC": known, "plasmacytoid dendritic cell": known})
        tables = evaluate(adata, label_ids={"IPC": "CL:0000784"} if known == "IPC" else None)
        own = tables["types"].query("type == 'plasmacytoid dendritic cell (CL:0000784)' and level == 'shared'")
        assert (own["cells"].item(), own["f1"].item()) == (adata.n_obs - (adata.obs["truth"] == "monocyte").sum(), 1)
        assert set(tables["levels"]["type"]) == {"plasmacytoid dendritic cell (CL:0000784)", "monocyte"}

    @pytest.mark.parametrize("term", ["CL:0000784", None])
    def test_an_id_that_the_label_of_the_model_has_changes_nothing(self, adata, term):
        adata.obs["truth"] = adata.obs["sctab_label"]
        assert evaluate(adata, label_ids={"pDC": term})["overall"].query("metric == 'accuracy'")["value"].tolist() == [1, 1, 1]

    def test_another_id_is_another_type(self, adata):
        adata.obs["truth"] = adata.obs["sctab_label"]
        tables = evaluate(adata, label_ids={"pDC": "CL:0002399"})
        accuracy = tables["overall"].query("metric == 'accuracy'")["value"].tolist()
        assert accuracy == [(adata.obs["truth"] != "pDC").mean()] * 3
        assert "CD1c-positive myeloid dendritic cell" in set(tables["levels"]["type"])


def test_labels_without_an_id_and_with_a_slash(tmp_path):
    """What the ontology does not know is compared by name, also where AnnData cannot hold the name as a column."""
    reference = make_reference()
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "B/plasma"})
    LinearClassifier.setup_anndata(reference, "cell_type")
    with pytest.warns(SctabWarning, match="gets no id"):
        model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=20, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(90, seed=7)
    query.obs["cell_type"] = query.obs["cell_type"].cat.rename_categories({"B cell": "B/plasma", "T cell": "T-cells"})
    sctab.tl.annotate(query, model)
    evaluation = evaluate(query, "cell_type")
    read = evaluation["notes"][0]
    assert read.startswith("1 of 3 known labels has another name in the Cell Ontology. Check how it was read")
    assert read.endswith(": `T-cells` as `T cell` (`CL:0000084`).")
    assert [note.split(" is not in")[0] for note in evaluation["notes"][1:]] == [
        "1 of 3 known labels",
        "1 of 3 labels of the model",
    ]
    assert values(evaluation["overall"], corrected=False)["accuracy"] > 0.9
    assert values(evaluation["overall"], corrected=False)["cross_entropy"] < 0.5
    assert list(evaluation["types"]["type"][:3]) == ["B/plasma", "T cell", "monocyte"]
