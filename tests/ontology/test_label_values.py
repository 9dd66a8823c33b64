"""Labels that represent no type, are alike, or cannot be stored."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sctab.ontology.label_values import alike, are_codes, doubts, is_missing, says_no_type, why_unwritable

TYPES = ["B", "T cell", "NK", "Naive B", "Nan-like cell", "other T cell", "mixed glia", "negative selection cell", "0"]
TYPES += [
    "NDNF",
    "Noradrenergic neuron",
    "Restless T",
    "resting B",
    "background-stained B",
    "tumor",
    "CD4-negative",
    "epithelial debris of Malassez",
]


@pytest.mark.parametrize(
    "label",
    [
        "",
        " ",
        "\t",
        "nan",
        "NaN",
        "NAN",
        "NA",
        "n/a",
        "N/A",
        "<NA>",
        "None",
        "none",
        "null",
        "NULL",
        "NaT",
        "N.A.",
        "n.d.",
        "N.D",
        "n/d",
        "-",
        "--",
        "?",
        ".",
        "_",
    ],
)
def test_missing(label):
    assert is_missing(label)


NO_TYPE = (
    "Unknown|unknown_1|UNASSIGNED|not_assigned|unclassified|undetermined|other|Others|doublet|Doublets|doublet(s)|low-quality|"
    "low_quality_cells|ambiguous|unlabelled|not available|low quality|Unknown cell type|Unknown 3|"
    "ND|tbd|TBD|T.B.D.|to be determined|to_be_annotated|not determined|not known|un-assigned|unassignable|unclear|no annotation|NoLabel|"
    "LowQuality|lowQual|low_quality_neurons|T/B doublet|Doublets_Mono|predicted doublets|multiplet 2|debris|cell debris|dead cells|"
    "empty droplets|ambient RNA|failed QC|to remove|Filtered out|Discarded|contamination|no cell|Un-annotated|other|other cells"
)


@pytest.mark.parametrize("label", NO_TYPE.split("|"))
def test_no_type(label):
    assert says_no_type(label)
    assert not is_missing(label)


@pytest.mark.parametrize("label", TYPES)
def test_types_are_types(label):
    assert not is_missing(label)
    assert not says_no_type(label)


def test_no_name_of_the_ontology_says_no_type(ontology):
    names = [word for term in ontology.descendants("cell") for word in (str(ontology.name(term)), *ontology.synonyms(term))]
    assert [name for name in names if is_missing(name) or says_no_type(name)] == []


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ({"B": 1, "Unknown": 2}, "is learned as a cell type. Remove those cells, or pass `unlabeled_category='Unknown'` to learn"),
        ({"tbd": 1, "debris": 2}, "are learned as cell types. Remove those cells, or give them one name and pass it as `unlabeled"),
    ],
)
def test_how_to_leave_them_out(counts, note):
    (doubt,) = doubts(counts, "x")
    assert note in doubt
    assert doubts(counts, "x", leave_out="Use a rule.")[0].endswith("cell types. Use a rule.") or "B" in counts


def test_alike():
    assert alike(["B", "B ", "b", "T"]) == [("B", "B ", "b")]
    assert alike(["B\u00a0cell", "B cell", "B\u200b cell"]) == [("B cell", "B\u00a0cell", "B\u200b cell")]
    assert alike(["B cell", "T cell"]) == []


def test_codes():
    assert are_codes(["0", "1", "10"])
    assert are_codes(["1.0", "2.0"])
    assert are_codes(["cluster_1", "c2", "3"])
    assert not are_codes(["0", "B cell"])
    assert not are_codes(["T1", "B2"])
    assert not are_codes([])


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["A/B", "A|B"], "`A/B`, `A|B` are stored under one name"),
        (["a\x00b"], "has control characters, such as line breaks"),
        (["a\nb", "c\td"], "have control characters"),
        (["x" * 201], "has more than 200 bytes"),
        (["é" * 150], "has more than 200 bytes"),
        (["_index"], "`_index` is a name that file formats keep"),
        (["zarr.json"], "`zarr.json` is a name"),
    ],
)
def test_unwritable(labels, reason):
    assert reason in why_unwritable([*labels, "T cell"])


LABELS = [
    "A/B",
    " B",
    "B ",
    "index",
    "a\\b",
    "x" * 200,
    "é" * 100,
    "__categories",
    "CD4+ T, naive; (1)",
    "β",
    "columns",
    "'quoted'",
]


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_all_others_can_be_stored(tmp_path, suffix):
    assert why_unwritable(LABELS) == ""
    columns = [label.replace("/", "|") for label in LABELS]
    adata = ad.AnnData(np.zeros((2, 1), dtype=np.float32))
    adata.obsm["p"] = pd.DataFrame(dict.fromkeys(columns, 0.5), index=adata.obs_names)
    path = tmp_path / f"a.{suffix}"
    adata.write_h5ad(path) if suffix == "h5ad" else adata.write_zarr(path)
    again = ad.read_h5ad(path) if suffix == "h5ad" else ad.read_zarr(path)
    assert list(again.obsm["p"].columns) == columns
