"""Probabilities of cell types, fine and coarse."""

import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference

import sctab
from sctab import KeyNotFoundError, LabelError, SctabWarning, get
from sctab.model import LinearClassifier
from sctab.ontology import CellOntology


@pytest.fixture(scope="module")
def annotated():
    reference = make_reference()
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"monocyte": "mono/mac"})
    LinearClassifier.setup_anndata(reference, "cell_type")
    with pytest.warns(SctabWarning, match="gets no id"):
        model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    return sctab.tl.annotate(make_reference(60, seed=3), model, copy=True)


def test_every_label_under_its_name(annotated):
    table = get.probabilities(annotated)
    assert list(table.columns) == ["B cell", "T cell", "mono/mac"]
    assert table.index.equals(annotated.obs_names)
    np.testing.assert_array_equal(table, annotated.obsm["sctab_probabilities"])


def test_sums_along_the_ontology(annotated):
    fine = get.probabilities(annotated)
    table = get.probabilities(annotated, ["T-lymphocyte", "CL:0000542", "cell", "mono/mac", "B cell"])
    np.testing.assert_allclose(table["T-lymphocyte"], fine["T cell"])
    np.testing.assert_allclose(table["CL:0000542"], fine["T cell"] + fine["B cell"])
    np.testing.assert_allclose(table["cell"], fine["T cell"] + fine["B cell"])  # the other label is in no ontology
    np.testing.assert_allclose(table["mono/mac"], fine["mono/mac"])
    np.testing.assert_allclose(table["B cell"], fine["B cell"])


def test_what_the_model_cannot_tell_is_missing(annotated):
    table = get.probabilities(annotated, ["naive B cell", "monocyte", "lymphocyte"])
    assert table[["naive B cell", "monocyte"]].isna().all(axis=None)
    assert table["lymphocyte"].notna().all()


def test_another_ontology(annotated):
    ontology = CellOntology(
        names={"CL:0000236": "B cell", "CL:9": "top"}, synonyms={}, ancestors={"CL:0000236": ["CL:9"]}, version="mine"
    )
    table = get.probabilities(annotated, ["top"], ontology=ontology)
    np.testing.assert_allclose(table["top"], get.probabilities(annotated)["B cell"])


def test_refusals(annotated):
    with pytest.raises(
        LabelError, match=r"`blob` is neither a label of the model nor known to the Cell Ontology \(v.*\)\. Labels: `B cell`"
    ):
        get.probabilities(annotated, ["blob"])
    with pytest.raises(
        LabelError, match=r"`barrier cell` is neither .*\. `barrier cell` is obsolete .*, without a replacement\. Labels"
    ):
        get.probabilities(annotated, ["barrier cell"])
    with pytest.raises(
        KeyNotFoundError,
        match=r"The data has no annotation under `mine`\. It has annotations under `sctab`\. Run `sctab\.tl\.annotate",
    ):
        get.probabilities(annotated, key_added="mine")
    without = annotated.copy()
    del without.obsm["sctab_probabilities"]
    with pytest.raises(KeyNotFoundError, match=r"are annotated, but `adata\.obsm\['sctab_probabilities'\]` no longer exists"):
        get.probabilities(without)
    del without.uns["sctab"]
    with pytest.raises(KeyNotFoundError, match=r"`adata\.obs\['sctab_label'\]` is there, but `adata\.uns\['sctab'\]`, .* is not\."):
        get.probabilities(without)


def test_one_type_by_its_name(annotated):
    pd.testing.assert_frame_equal(get.probabilities(annotated, "T cell"), get.probabilities(annotated, ["T cell"]))


def test_of_a_file(annotated, tmp_path):
    import anndata as ad

    annotated.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(
        get.probabilities(again, ["lymphocyte"]), get.probabilities(annotated, ["lymphocyte"]), check_names=False
    )
