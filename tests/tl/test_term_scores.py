"""Scores of promised terms: worked by hand, beside the rule that the promise is made with, and from real annotations."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tests.reference import make_reference

import sctab
from sctab import LabelError, SctabWarning
from sctab.get import read_annotation
from sctab.inference import Terms
from sctab.model import LinearClassifier
from sctab.ontology import CellOntology, LabelSpace
from sctab.tl._comparison import compare_labels
from sctab.tl._term_scores import accepted_terms, score_terms

LABELS = ("B cell", "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "monocyte")
AB = "mature alpha-beta T cell"
CELLS = [  # known label, donor, answer, whether it is wrong
    ("B cell", "a", "B cell", False),
    ("B cell", "a", "monocyte", True),
    ("CD4-positive, alpha-beta T cell", "a", AB, False),
    ("CD4-positive, alpha-beta T cell", "a", "CD4-positive, alpha-beta T cell", False),
    ("T cell", "b", "CD8-positive, alpha-beta T cell", False),  # a broader label above the answer
    ("CD4-positive helper T cell", "b", AB, False),  # finer than all labels, and below the answer
    ("CD4-positive helper T cell", "b", "CD8-positive, alpha-beta T cell", True),
    ("monocyte", "b", None, False),  # left open
    ("hepatocyte", "b", AB, True),  # unknown to the model
    ("lymphocyte", "b", "monocyte", True),
]


def annotated(answers, labels, terms, *, accepted_error=0.3, unit="donor"):
    """Cells with terms as `annotate` writes them."""
    adata = AnnData(np.ones((len(answers), 1)))
    node_of = {name: node for node, name in reversed(list(enumerate(terms.names)))}
    nodes = [-1 if answer is None else node_of[answer] for answer in answers]
    adata.obs["sctab_label"] = pd.Categorical([labels.names[0]] * len(answers), categories=labels.names)
    adata.obs["sctab_uncertainty"] = 0.1
    adata.obs["sctab_term"] = pd.Categorical(answers)
    adata.obs["sctab_term_id"] = pd.Categorical([None if node < 0 else terms.ids[node] for node in nodes])
    adata.obs["sctab_n_labels_below"] = np.append(terms.n_below, len(labels))[nodes]
    adata.uns["sctab"] = {
        "labels": {"names": np.array(labels.names), "ids": np.array([term or "" for term in labels.ids])},
        "model": {"ontology_version": labels.ontology_version},
        "promise": {
            "accepted_error": accepted_error,
            "unit": unit,
            "n_units": 5,
            "terms": list(terms.names),
            "term_ids": np.array([term or "" for term in terms.ids]),
            "labels_below": terms.below,
        },
    }
    return adata


@pytest.fixture
def adata():
    labels = LabelSpace.from_names(LABELS, CellOntology.embedded())
    adata = annotated([cell[2] for cell in CELLS], labels, Terms.of(labels))
    adata.obs["truth"], adata.obs["donor"] = [cell[0] for cell in CELLS], [cell[1] for cell in CELLS]
    return adata


def evaluate(adata, **options):
    with pytest.warns(SctabWarning):
        sctab.tl.evaluate(adata, "truth", **{"show": False, "n_bootstrap": 0} | options)
    return sctab.get.evaluation(adata, "promise").set_index(["over", "name"])


def test_by_hand(adata):
    table = evaluate(adata, donor_key="donor")
    assert table["error"]["all", ""] == 4 / 10
    assert table["error"]["donor", "a"] == 1 / 4
    assert table["error"]["donor", "b"] == 3 / 6
    assert table["error"]["mean over donors", ""] == (1 / 4 + 3 / 6) / 2
    assert table["cells"].xs("donor").to_dict() == {"a": 4, "b": 6}
    for name in {cell[0] for cell in CELLS}:
        wrong = [cell[3] for cell in CELLS if cell[0] == name]
        row = table.loc["type", name]
        assert (row["error"], row["cells"]) == (np.mean(wrong), len(wrong))
    assert table["leaf"]["all", ""] == 6 / 10
    assert table["open"]["all", ""] == 1 / 10
    assert table["n_labels_below"]["all", ""] == (6 * 1 + 3 * 2 + 4) / 10
    assert (table["accepted_error"] == 0.3).all()
    promised = {key for key in table.index if key[0] in ("all", "mean over donors")}
    assert table["kept"].dropna().to_dict() == {key: table["error"][key] <= 0.3 for key in promised}
    assert not table["kept"]["all", ""]
    assert table["id"]["type", "B cell"] == "CL:0000236"
    assert table["low"].isna().all()


def test_cells_without_a_label_do_not_count(adata):
    adata.obs.loc[adata.obs["truth"] == "hepatocyte", "truth"] = None
    assert evaluate(adata)["error"]["all", ""] == 3 / 9
    adata.obs["truth"] = [cell[0] for cell in CELLS]
    table = evaluate(adata, only_known=True)  # without the hepatocyte and the helper T cells
    assert (table["error"]["all", ""], table["cells"]["all", ""]) == (2 / 7, 7)
    assert set(table.index.get_level_values("over")) == {"all", "type"}


def test_intervals_are_over_donors(adata):
    several = ad.concat([adata] * 20, uns_merge="first", index_unique="-", keys=map(str, range(20)))
    several.obs["donor"] = [f"{donor}{i // 20}" for i, donor in enumerate(several.obs["donor"])]
    table = evaluate(several, donor_key="donor", n_bootstrap=200)
    for over in ("all", "mean over donors"):
        row = table.loc[over, ""]
        assert row["low"] < row["error"] < row["high"]
    assert table.loc["donor", "low"].isna().all()
    of_cells = evaluate(several, n_bootstrap=200).loc["all", ""]
    se = np.sqrt(0.4 * 0.6 / 200)
    assert of_cells["low"] == pytest.approx(0.4 - 1.96 * se, abs=0.03)
    assert of_cells["high"] == pytest.approx(0.4 + 1.96 * se, abs=0.03)


HIERARCHY = {"L2/3 IT": "IT", "L5 IT": "IT", "IT": "excitatory", "ET": "excitatory"}
SPACES = {
    "ontology": (LabelSpace.from_names((*LABELS, "T cell", "natural killer cell"), CellOntology.embedded()), None),
    "shared id": (LabelSpace(("b", "B lymphocyte", "monocyte"), ("CL:0000236", "CL:0000236", "CL:0000576")), None),
    "hierarchy": (LabelSpace(("L2/3 IT", "L5 IT", "ET", "Pvalb"), (None,) * 4), HIERARCHY),
    "a label above others": (LabelSpace(("L2/3 IT", "L5 IT", "IT", "ET", "Pvalb"), (None,) * 5), HIERARCHY),
    "mixed": (
        LabelSpace(
            ("L2/3 IT", "L5 IT", "Pvalb", *LABELS), (None,) * 3 + LabelSpace.from_names(LABELS, CellOntology.embedded()).ids
        ),
        HIERARCHY,
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_labels_of_the_model_are_accepted_as_the_promise_accepts_them(name):
    labels, hierarchy = SPACES[name]
    terms = Terms.of(labels, hierarchy)
    adata = annotated([None], labels, terms)
    annotation = read_annotation(adata, "sctab", None)
    truth = pd.Series(labels.names)
    comparison = compare_labels(truth, truth, annotation)
    found = accepted_terms(comparison, terms.names, [term or "" for term in terms.ids], terms.below, annotation.ontology)
    np.testing.assert_array_equal(found[:, comparison.truth], terms.accepts)
    assert found.any(axis=1).all()
    assert not found.all()


def test_terms_of_a_hierarchy_are_known_labels_too():
    """`IT` is no label of the model, has no id, and is what an author wrote."""
    labels, _ = SPACES["hierarchy"]
    terms = Terms.of(labels, HIERARCHY)
    adata = annotated(["L5 IT", "IT", "excitatory", "ET", "L2/3 IT"], labels, terms)
    adata.obs["truth"] = ["IT"] * 4 + ["ET"]
    assert evaluate(adata)["error"].to_dict() == {("all", ""): 2 / 5, ("type", "IT"): 1 / 4, ("type", "ET"): 1}


def test_a_label_and_a_term_of_one_name_are_told_apart():
    """The label `B cell` has one label below, the term `B cell` two."""
    labels = LabelSpace(("B cell", "b", "monocyte"), ("CL:0000236", "CL:0000236", "CL:0000576"))
    terms = Terms.of(labels)
    assert terms.names.count("B cell") == 2
    adata = annotated(["B cell", "B cell"], labels, terms)
    adata.obs["sctab_n_labels_below"] = [1, 2]
    adata.obs["truth"] = "b"
    table = evaluate(adata)
    assert table["error"]["all", ""] == 0.5
    assert table["leaf"]["all", ""] == 0.5


def test_without_terms_there_is_no_table(adata):
    del adata.obs["sctab_term"]
    with pytest.warns(SctabWarning):
        sctab.tl.evaluate(adata, "truth", show=False, n_bootstrap=0)
    assert "promise" not in adata.uns["sctab_evaluation"]
    with pytest.raises(sctab.KeyNotFoundError, match="not of promised terms. Annotate the cells with an `accepted_error`"):
        sctab.get.evaluation(adata, "promise")


@pytest.mark.parametrize("lost", ["record", "column"])
def test_terms_without_their_record_are_noted(adata, lost):
    if lost == "record":
        del adata.uns["sctab"]["promise"]
    else:
        del adata.obs["sctab_n_labels_below"]
    with pytest.warns(SctabWarning):
        sctab.tl.evaluate(adata, "truth", show=False, n_bootstrap=0)
    note = adata.uns["sctab_evaluation"]["notes"][-1]
    assert note.startswith("The terms in `adata.obs['sctab_term']` are not scored")
    assert "`sctab.tl.annotate(adata, model, key_added='sctab')` with an accepted error again." in note
    assert "promise" not in adata.uns["sctab_evaluation"]


def test_terms_that_were_changed_are_refused(adata):
    adata.obs["sctab_term"] = adata.obs["sctab_term"].cat.rename_categories({AB: "ab T"})
    with pytest.raises(LabelError, match=r"has terms that differ from those that the annotation reported: `ab T`\. Annotate"):
        sctab.tl.evaluate(adata, "truth", show=False)
    assert "sctab_evaluation" not in adata.uns


def test_score_terms_alone(adata):
    """The rooms below `evaluate` need no evaluation."""
    annotation = read_annotation(adata, "sctab", None)
    comparison = compare_labels(adata.obs["truth"], adata.obs["sctab_label"], annotation)
    cells = np.arange(len(CELLS)) < 4
    table, note = score_terms(
        adata, comparison, annotation, cells, donors=None, key_added="sctab", n_bootstrap=0, rng=np.random.default_rng(0)
    )
    assert note == ""
    assert table.loc[0, ["over", "cells", "error"]].tolist() == ["all", 4, 0.25]


@pytest.fixture(scope="module")
def of_a_model():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(90, seed=3)
    sctab.tl.annotate(query, model, accepted_error=0.25)
    return query


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_an_annotation_that_was_stored(of_a_model, tmp_path, suffix):
    path = tmp_path / f"query{suffix}"
    (ad.AnnData.write_h5ad if suffix == ".h5ad" else ad.AnnData.write_zarr)(of_a_model, path)
    read = (ad.read_h5ad if suffix == ".h5ad" else ad.read_zarr)(path)
    tables = []
    for adata in (of_a_model.copy(), read):
        sctab.tl.evaluate(adata, "cell_type", donor_key="donor_id", n_bootstrap=5, show=False)
        tables.append(sctab.get.evaluation(adata, "promise"))
    pd.testing.assert_frame_equal(*tables)
    (ad.AnnData.write_h5ad if suffix == ".h5ad" else ad.AnnData.write_zarr)(read, tmp_path / f"again{suffix}")
    terms, truth = (of_a_model.obs[column].astype(object) for column in ("sctab_term", "cell_type"))
    answered = of_a_model.obs["sctab_n_labels_below"] == 1
    assert tables[0]["leaf"][0] == answered.mean() > 0.5
    assert tables[0]["open"][0] == terms.isna().mean()
    assert (answered & (terms != truth)).mean() <= tables[0]["error"][0] <= (terms.notna() & (terms != truth)).mean()
