"""The packaged model: small enough, complete, and as good as its card says on data that it has not seen."""

import json
import re
import warnings

import pandas as pd
import pytest
import scanpy as sc
from sklearn.metrics import f1_score

import sctab
from sctab import ModelNotFoundError
from sctab.cli._demo import author_labels
from sctab.ontology import CellOntology
from sctab.zoo import list_models, load, packaged_path

CD4, CD8 = "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"
BROAD = {
    "naive thymus-derived CD4-positive, alpha-beta T cell": CD4,
    "CD4-positive, alpha-beta memory T cell": CD4,
    "CD4-positive, CD25-positive, alpha-beta regulatory T cell": CD4,
    "naive thymus-derived CD8-positive, alpha-beta T cell": CD8,
    "CD14-positive monocyte": "monocyte",
    "CD14-low, CD16-positive monocyte": "monocyte",
}
"""Labels that the two tables of the model card give apart, and together."""


@pytest.fixture(scope="module")
def pbmc():
    return load("pbmc")


def test_it_is_listed():
    (listed,) = [model for model in list_models() if model.name == "pbmc"]
    assert listed.description.startswith("Human blood mononuclear cells")
    assert listed.n_labels == 13


def test_it_is_listed_as_it_is(pbmc):
    (listed,) = list_models()
    found = (listed.name, listed.description, listed.n_labels, listed.n_genes)
    assert found == ("pbmc", pbmc.spec.description, len(pbmc.spec.labels), len(pbmc.spec.features))


def test_the_directory_is_small_and_has_a_card():
    files = {path.name: path.stat().st_size for path in packaged_path("pbmc").iterdir()}
    assert set(files) == {"MODEL_CARD.md", "card.json", "model.json", "model.safetensors", "reference.safetensors"}
    assert sum(files.values()) <= 8e6


def test_every_label_has_an_ontology_id(pbmc):
    ontology = CellOntology.embedded()
    assert pbmc.spec.labels.without_id == ()
    for name, term in zip(pbmc.spec.labels.names, pbmc.spec.labels.ids, strict=True):
        assert ontology.name(term) == name


def test_it_scores_what_its_card_says(pbmc):
    """Macro F1 by scikit-learn on the demo's data; the card also holds that of logistic regression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        query = sc.datasets.pbmc68k_reduced()
    truth = author_labels(query, pbmc.spec.labels, CellOntology.embedded())
    with pytest.warns(sctab.SctabWarning) as notes:
        predicted = pbmc.predict(query).astype(str)
    assert len(notes) == 2  # it is not silent on the matrix, nor on the genes that are missing
    fine = truth, pd.Series(predicted, index=truth.index)
    broad = [labels.map(BROAD).fillna(labels) for labels in fine]
    card = (packaged_path("pbmc") / "MODEL_CARD.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| macro F1 \| 700 \| (\S+) \| (\S+) \| (\S+) \|", card)
    for (known, called), row in zip((broad, fine), rows, strict=True):
        ours, logistic, balanced = map(float, row)
        score = f1_score(known, called, labels=sorted(known.unique()), average="macro")
        assert score == pytest.approx(ours, abs=0.01)
        assert score >= max(logistic, balanced)


def test_ids_of_both_ensembl_releases_are_known(pbmc):
    """TXNIP has another id in older releases of Ensembl."""
    position = pbmc.spec.features.symbols.index("TXNIP")
    known = {pbmc.spec.features.ids[position], *pbmc.spec.features.other_ids[position]}
    assert known == {"ENSG00000117289", "ENSG00000265972"}


def test_an_object_and_a_path_are_taken_as_they_are(pbmc):
    assert load(pbmc) is pbmc
    assert load(packaged_path("pbmc")).sha256 == pbmc.sha256
    assert pbmc.name == "pbmc"


@pytest.mark.parametrize("name", ["blood", "../pbmc", "", "pbmc/model.json"])
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(
        ModelNotFoundError, match="There is no (packaged )?model|is not a model directory|has no `model.json`"
    ) as refusal:
        load(name) if name else packaged_path(name)
    assert "pbmc" in str(refusal.value)


def test_a_directory_goes_before_a_packaged_model(tmp_path, monkeypatch, pbmc):
    monkeypatch.chdir(tmp_path)
    pbmc.save("pbmc", description="mine")
    assert load("pbmc").spec.description == "mine"
    assert json.loads((tmp_path / "pbmc" / "model.json").read_text())["description"] == "mine"
