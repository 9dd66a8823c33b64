"""Of which species cells are said to be: what is told of it, in memory and in files."""

import warnings
from functools import partial

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from tests.reference import make_reference

import sctab
from sctab import GeneOverlapError, SctabWarning
from sctab.data import Species
from sctab.data.genes._stated import StatedSpecies
from sctab.io._data_file import DataFile
from sctab.keys import SPECIES_KEYS
from sctab.model import LinearClassifier

HUMAN = Species("human", is_certain=True)
ORTHOLOGS = "This is valid only if the genes were replaced by their orthologs"


@pytest.fixture(scope="module")
def classifier():
    return sctab.zoo.load("pbmc")


@pytest.fixture
def cells():
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    return ad.AnnData(adata.X, obs=adata.obs[["bulk_labels"]], var=adata.var[[]])


def stated(values, **uns):
    return StatedSpecies.of(pd.DataFrame({"organism": values}), uns)


@pytest.mark.parametrize(
    ("text", "species"),
    [
        ("Homo sapiens", {"human"}),
        ("homo_sapiens", {"human"}),
        ("Human", {"human"}),
        ("NCBITaxon:9606", {"human"}),
        ("NCBITaxon:10090", {"mouse"}),
        ("NCBITaxon:10092", {"mouse"}),
        ("Mus musculus (mouse)", {"mouse"}),
        ("Mus musculus domesticus", {"mouse"}),
        ("M. musculus", {"mouse"}),
        ("mmusculus", {"mouse"}),
        ("NCBITaxon:9541", {"crab-eating macaque"}),
        ("Macaca mulatta", {"rhesus macaque"}),
        ("Gorilla gorilla gorilla", {"gorilla"}),
        ("Homo sapiens; Mus musculus", {"human", "mouse"}),
        ("human and mouse", {"human", "mouse"}),
        ("NCBITaxon:77", {"another species, NCBITaxon:77"}),
        ("unknown", set()),
        ("not applicable", set()),
        ("", set()),
    ],
)
def test_words_for_species(text, species):
    assert set(stated([text, text]).found) == species
    assert set(StatedSpecies.of(pd.DataFrame(index=["a"]), {"organism_ontology_term_id": text}).found) == species


@pytest.mark.parametrize(
    "values", [[np.nan, "Mus musculus"], pd.Categorical([None, "Mus musculus"], ["Homo sapiens", "Mus musculus"])]
)
def test_only_cells_that_have_an_entry_count(values):
    found = stated(values)
    assert found.found == {"mouse": (1, "`obs['organism']`: `Mus musculus`")}
    (note,) = found.notes(HUMAN, owner="the model", fix="use another")
    assert note.startswith(
        "1 of 2 cells are from mouse (`obs['organism']`: `Mus musculus`), and the genes of the model are those of human."
    )
    assert note.endswith("otherwise use another.")


def test_what_says_the_same_is_told_once():
    obs = pd.DataFrame({"organism": ["Mus musculus"] * 3, "organism_ontology_term_id": ["NCBITaxon:10090"] * 3})
    (note,) = StatedSpecies.of(obs, {"organism": "Mus musculus"}).notes(HUMAN, owner="the model", fix="")
    assert note.startswith("The cells are from mouse (`obs['organism']`: `Mus musculus`)")


def test_a_mixture_is_told_whatever_the_genes():
    found = stated(["Homo sapiens", "Macaca mulatta", "Macaca mulatta"])
    for genes in (HUMAN, None, Species("human", is_certain=False)):
        (note,) = found.notes(genes, owner="the model", fix="")
        assert "several species: 2 of rhesus macaque (`obs['organism']`: `Macaca mulatta`), 1 of human" in note


@pytest.mark.parametrize(
    ("values", "genes"),
    [
        (["Homo sapiens"], HUMAN),
        (["Mus musculus"], Species("mouse", is_certain=True)),
        (["Macaca mulatta"], Species("human", is_certain=False)),  # symbols in capitals: they may be those of macaque
        (["Mus musculus"], None),
        (["in vitro"], HUMAN),
        ([1], HUMAN),
        ([None], HUMAN),
    ],
)
def test_what_agrees_needs_no_word(values, genes):
    assert stated(values).notes(genes, owner="the model", fix="") == []


@pytest.mark.parametrize("entry", ["Mus musculus", b"Mus musculus", ["Mus musculus"], np.array(["Mus musculus"])])
def test_entries_of_uns(entry):
    assert stated([None, None], organism=entry).found == {"mouse": (2, "`uns['organism']`: `Mus musculus`")}


@pytest.mark.parametrize("entry", [{"a": "Mus musculus"}, 10090.5, None, np.zeros(200)])
def test_entries_of_uns_that_say_nothing(entry):
    assert stated([None], species=entry).found == {}


def tell(adata, key, where):
    if where == "uns":
        adata.uns[key] = "NCBITaxon:10090" if key.endswith("id") else "Mus musculus"
    else:
        adata.obs[key] = pd.Categorical(["NCBITaxon:10090" if key.endswith("id") else "Mus musculus"] * adata.n_obs)
    return adata


@pytest.mark.parametrize("key", SPECIES_KEYS)
@pytest.mark.parametrize("where", ["obs", "uns"])
def test_annotation_tells_it_in_memory_and_from_files(cells, tmp_path, key, where):
    tell(cells, key, where)
    expected = said_by(lambda: sctab.tl.annotate(cells, "pbmc", copy=True))
    assert any(note.startswith("The cells are from mouse (") and ORTHOLOGS in note for note in expected)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    cells.write_zarr(tmp_path / "cells.zarr")
    for name in ("cells.h5ad", "cells.zarr"):
        output = tmp_path / f"{name}.csv"
        assert said_by(partial(sctab.tl.annotate_files, tmp_path / name, "pbmc", output=output)) == expected


def said_by(call):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SctabWarning)
        call()
    return sorted(str(warning.message) for warning in told)


def test_orthologs_are_annotated(cells):
    """The genes of mouse were replaced by those of human, and `obs` still says what the cells are."""
    expected = cells.copy()
    before = said_by(lambda: sctab.tl.annotate(expected, "pbmc"))
    cells.obs["organism"] = "Mus musculus"
    (note,) = set(said_by(lambda: sctab.tl.annotate(cells, "pbmc"))) - set(before)
    assert ORTHOLOGS in note
    assert note in cells.uns["sctab"]["warnings"]
    assert (cells.obs["sctab_label"] == expected.obs["sctab_label"]).all()


def test_genes_that_contradict_are_refused_as_before(classifier, cells):
    cells.obs["organism"] = "Homo sapiens"
    cells.var_names = cells.var_names.str.capitalize()
    with pytest.raises(GeneOverlapError, match="^The data looks like mouse"):
        classifier.predictor.open_query(cells)


def test_strings_as_old_versions_wrote_them(cells, tmp_path):
    path = tmp_path / "old.h5ad"
    cells.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["uns"]["organism"] = "Mus musculus"
        file["uns"].create_group("species")
    assert DataFile(path).uns == {"organism": "Mus musculus"}


def test_a_reference_is_told(cells):
    cells.obs["organism"] = "Mus musculus"
    cells.obs["bulk_labels"] = np.where(np.arange(cells.n_obs) % 2, "B cell", "natural killer cell")
    LinearClassifier.setup_anndata(cells, "bulk_labels")
    with pytest.warns(SctabWarning, match="from mouse .*, and the genes of the reference are those of human"):
        LinearClassifier(cells)


def test_a_reference_that_says_what_its_genes_say_needs_no_word():
    reference = make_reference(30)
    reference.obs["organism"] = "Homo sapiens"
    LinearClassifier.setup_anndata(reference, "cell_type")
    LinearClassifier(reference)
