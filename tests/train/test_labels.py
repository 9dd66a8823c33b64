"""What is refused and what is told of the labels of a reference."""

import warnings

import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference

from sctab import LabelError, SctabWarning
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier
from sctab.ontology import CellOntology
from sctab.train._labels import check_label_names, check_labels


def labels(*others, n=40):
    """Labels of cells, some of which are `others`, one after the other."""
    values = np.array(["B cell", "B cell", "T cell", "T cell"] * (n // 4), dtype=object)
    for i, other in enumerate(others):
        values[2 * i :: 2 * len(others)] = other
    return pd.Series(values)


def told(series, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_labels(series, "x", **{"unlabeled_category": None} | options)
    return [str(warning.message) for warning in caught]


class TestMissing:
    @pytest.mark.parametrize("value", ["nan", "NaN", "", " ", "NA", "N/A", "na", "None", "null", "<NA>", "-", "?", "n.d."])
    def test_one_string_that_stands_for_a_missing_label_is_no_type(self, value):
        message = r"\(20 cells\) in `adata\.obs\['x'\]` denotes a missing label: 20 of 40 cells have no label and are not learned"
        with pytest.warns(SctabWarning, match=message):
            assert check_labels(labels(value), "x", unlabeled_category=None) == value

    def test_several_at_once_with_their_numbers(self):
        series = labels("", "NA", None)
        with pytest.raises(
            LabelError, match=r"no label \(NaN, '' \(7\), 'NA' \(7\)\) for 20 of 40 cells\. .*`unlabeled_category`\.$"
        ):
            check_labels(series, "x", unlabeled_category=None)

    def test_they_may_be_named_or_confirmed(self):
        assert told(labels("NA"), unlabeled_category="NA", label_ids={"T cell": None}) == []
        assert told(labels("NA"), label_ids={"NA": None}) == []
        with pytest.raises(LabelError, match=r"no label \('None' \(10\)\) for 10 of 40"):
            check_labels(labels("NA", "None"), "x", unlabeled_category="NA")

    @pytest.mark.parametrize("value", ["Unknown", "unassigned", "Doublet", "low_quality", "other", "TBD", "debris"])
    def test_strings_that_may_be_meant_are_told(self, value):
        (note,) = told(labels(value))
        assert f"{value!r} (20 cells) in `adata.obs['x']` says that there is no label or no type" in note
        assert f"`unlabeled_category={value!r}`" in note
        assert told(labels(value), unlabeled_category=value, label_ids={"B cell": "CL:0000236"}) == []

    def test_several_strings_that_may_be_meant_need_one_name(self):
        (note,) = told(labels("tbd", "Doublets"))
        assert "'Doublets' (10 cells), 'tbd' (10 cells) in" in note
        assert note.endswith("or give them one name and pass it as `unlabeled_category`, to learn from the others alone.")


class TestUnlabeledCategory:
    @pytest.mark.parametrize(("given", "there"), [("Unknown", "unknown"), ("unknown", "unknown "), ("no label", "No_label")])
    def test_another_spelling_is_refused(self, given, there):
        with pytest.raises(LabelError, match=rf"the `unlabeled_category` '{given}', but '{there}' \(20 cells\) differs from it"):
            check_labels(labels(there), "x", unlabeled_category=given)

    def test_one_that_no_cell_has_is_told(self):
        assert told(labels(), unlabeled_category="zzz") == [
            "No cell of `adata.obs['x']` has the `unlabeled_category` 'zzz': all cells are learned from."
        ]


class TestTypes:
    def test_spellings_of_one_type_are_told(self):
        notes = told(labels("B cell ", "b_cell", "T  cell"))
        assert "'B cell' (10 cells), 'B cell ' (7 cells), 'b_cell' (7 cells) in `adata.obs['x']` differ in case" in notes[0]
        assert "'T  cell' (6 cells), 'T cell' (10 cells) in" in notes[1]

    @pytest.mark.parametrize(
        "series", [labels() == "B cell", pd.Series([0, 1] * 20), pd.Series([0.0, 1] * 20), pd.Series(["c1", "c2"] * 9)]
    )
    def test_clusters_are_told(self, series):
        assert "look like numbers of clusters" in " ".join(told(series))
        assert "look like numbers of clusters" in " ".join(told(series.astype(str).astype("category"))) or series.dtype == bool

    def test_every_cell_its_own(self):
        with pytest.raises(LabelError, match=r"40 different labels in 40 cells: .*These are not cell types"):
            check_labels(pd.Series([f"cell {i}-A" for i in range(40)]), "x", unlabeled_category=None)

    @pytest.mark.parametrize("pair", [("A/B", "A|B"), ("a\nb", "c"), ("x" * 300, "c"), ("_index", "c")])
    def test_labels_under_which_nothing_can_be_stored(self, pair):
        with pytest.raises(
            LabelError, match=r"Results could not be stored under the labels in `adata\.obs\['x'\]`: .*\. Rename them"
        ):
            check_labels(labels(*pair), "x", unlabeled_category=None)

    def test_bytes(self):
        with pytest.raises(LabelError, match="holds bytes. Decode them"):
            check_labels(labels(b"NK cell"), "x", unlabeled_category=None)

    def test_categories_without_cells_do_not_count(self):
        series = labels().astype("category").cat.add_categories(["nan", "Unknown", "b cell"])
        assert told(series) == []

    def test_ids_of_labels_that_are_not_there(self):
        (note,) = told(labels(), label_ids={"T cell": None, "absent": None})
        assert note == "1 of 2 labels of the label map are not in `adata.obs['x']`: `absent`."

    def test_names_alone(self):
        check_label_names(["A/B", "T cell"], "`c`")
        with pytest.raises(LabelError, match=r"`'nan'` in `c` cannot be a cell type"):
            check_label_names(["nan", "T cell"], "`c`")


@pytest.mark.parametrize(
    "setup",
    [LinearClassifier.setup_anndata, AutoClassifier.setup_anndata, DeepEnsemble(LinearClassifier, 2).setup_anndata],
)
def test_every_set_up_looks_at_them_and_leaves_the_reference_as_it_was(setup):
    reference = make_reference(60)
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "NA", "T cell": ""})
    before = reference.copy()
    with pytest.raises(LabelError, match=r"no label \('' \(20\), 'NA' \(20\)\) for 40 of 60 cells"):
        setup(reference, "cell_type")
    assert reference.uns == before.uns
    pd.testing.assert_frame_equal(reference.obs, before.obs)
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"NA": "Unknown", "": "T cell"})
    with pytest.warns(SctabWarning, match=r"'Unknown' \(20 cells\)"):
        setup(reference, "cell_type")


class TestInAModel:
    def test_cells_without_a_label_are_not_learned(self):
        reference = make_reference(90)
        reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "nan"})
        with pytest.warns(SctabWarning, match=r"'nan' \(30 cells\) .* 30 of 90 cells have no label and are not learned from"):
            LinearClassifier.setup_anndata(reference, "cell_type")
        model = LinearClassifier(reference)
        assert model.spec.labels.names == ("T cell", "monocyte")
        assert model.spec.setup["unlabeled_category"] == "nan"

    def test_confirmed_ids_are_stored_and_kept(self, tmp_path):
        reference = make_reference(90)
        reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "DC2"})
        (tmp_path / "labels.csv").write_text("label,id\nDC2,CL:0002399\n")
        LinearClassifier.setup_anndata(reference, "cell_type", label_ids=tmp_path / "labels.csv")
        model = LinearClassifier(reference)
        assert model.spec.labels.ids == ("CL:0002399", "CL:0000084", "CL:0000576")
        model.train(calibrate=False, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
        model.save(tmp_path / "m")
        query = make_reference(60, seed=1)
        query.obs["cell_type"] = query.obs["cell_type"].cat.rename_categories({"B cell": "DC2", "T cell": "mine"})
        larger = LinearClassifier.load_query_data(query, tmp_path / "m", label_ids={"mine": "CL:0000625"})
        assert dict(zip(larger.spec.labels.names, larger.spec.labels.ids, strict=True)) == {
            "DC2": "CL:0002399",
            "T cell": "CL:0000084",
            "monocyte": "CL:0000576",
            "mine": "CL:0000625",
        }

    def test_a_name_that_means_something_else_in_the_tissue_is_told(self):
        reference = make_reference(90)
        reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "Purkinje cell"})
        reference.obs["tissue"] = "heart"
        LinearClassifier.setup_anndata(reference, "cell_type")
        with pytest.warns(
            SctabWarning, match=r"`label_ids` .*`Purkinje cell` as `Purkinje myocyte` .*, but may mean `Purkinje cell`"
        ):
            model = LinearClassifier(reference)
        assert model.spec.labels.ids[0] == "CL:0002068"

    def test_names_of_authors_and_shared_ids_are_told(self):
        reference = make_reference(90)
        reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "T cells"})
        LinearClassifier.setup_anndata(reference, "cell_type")
        with pytest.warns(SctabWarning) as caught:
            model = LinearClassifier(reference)
        read, shared = (str(warning.message) for warning in caught)
        assert "`T cells` as `T cell` (`CL:0000084`)" in read
        assert shared.startswith("`T cell`, `T cells` share the id `CL:0000084`")
        assert model.spec.labels.child_matrix(CellOntology.embedded()).tolist() == np.eye(3, dtype=bool).tolist()
