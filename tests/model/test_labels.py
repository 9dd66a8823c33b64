"""What is refused and what is told of the labels of a reference."""

import warnings

import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference

from sctab import LabelError, SctabWarning
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier
from sctab.model._labels import check_label_names, check_labels, tissues_of


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
    @pytest.mark.parametrize("value", ["nan", "NaN", "", " ", "NA", "N/A", "na", "None", "null", "<NA>", "-", "?"])
    def test_strings_that_stand_for_a_missing_label_are_refused(self, value):
        message = r"`adata\.obs\['x'\]` has no label \(.*20\)\) for 20 of 40 cells\. Remove .* here `unlabeled_category="
        with pytest.raises(LabelError, match=message):
            check_labels(labels(value, n=40), "x", unlabeled_category=None)

    def test_several_at_once_with_their_numbers(self):
        series = labels("", "NA", None)
        with pytest.raises(
            LabelError, match=r"no label \(NaN, '' \(7\), 'NA' \(7\)\) for 20 of 40 cells\. .*`unlabeled_category`\.$"
        ):
            check_labels(series, "x", unlabeled_category=None)

    def test_they_may_be_named_or_confirmed(self):
        assert told(labels("NA"), unlabeled_category="NA", confirmed=["T cell"]) == []
        assert told(labels("NA"), confirmed=["NA"]) == []
        with pytest.raises(LabelError, match=r"no label \('None' \(10\)\) for 10 of 40"):
            check_labels(labels("NA", "None"), "x", unlabeled_category="NA")

    @pytest.mark.parametrize("value", ["Unknown", "unassigned", "Doublet", "low_quality", "other"])
    def test_strings_that_may_be_meant_are_told(self, value):
        (note,) = told(labels(value))
        assert f"{value!r} (20 cells) in `adata.obs['x']` says that there is no label or no type" in note
        assert f"`unlabeled_category={value!r}`" in note
        assert told(labels(value), unlabeled_category=value, confirmed=["x"]) == []


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
        with pytest.raises(LabelError, match=r"40 different labels in 40 cells: .*These are no cell types"):
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

    def test_names_alone(self):
        check_label_names(["A/B", "T cell"], "`c`")
        with pytest.raises(LabelError, match=r"`'nan'` in `c` cannot be a cell type"):
            check_label_names(["nan", "T cell"], "`c`")


@pytest.mark.parametrize(
    "setup", [LinearClassifier.setup_anndata, AutoClassifier.setup_anndata, DeepEnsemble(LinearClassifier, 2).setup_anndata]
)
def test_every_set_up_looks_at_them_and_leaves_the_reference_as_it_was(setup):
    reference = make_reference(60)
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"B cell": "NA"})
    before = reference.copy()
    with pytest.raises(LabelError, match=r"no label \('NA' \(20\)\) for 20 of 60 cells"):
        setup(reference, "cell_type")
    assert reference.uns == before.uns
    pd.testing.assert_frame_equal(reference.obs, before.obs)
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"NA": "Unknown"})
    with pytest.warns(SctabWarning, match=r"'Unknown' \(20 cells\)"):
        setup(reference, "cell_type")


def test_tissues():
    obs = pd.DataFrame({"tissue": ["lung", "blood", None, "lung"]})
    assert tissues_of(obs) == ["lung", "blood"]
    assert tissues_of(obs[[]]) == tissues_of(pd.DataFrame({"tissue": list("abcdef")})) == []
