"""Tables of cells, and mappings."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests.annotated import annotated

from sctab.errors import SettingError
from sctab.export._cell_types import cell_types
from sctab.export._tables import cell_table, mapping_table, suffix_of_table, write_mappings, write_table

HOSTILE = ("B cell", "=1+1", "my/own <script>\tx")


def hostile():
    adata = annotated(names=HOSTILE, sizes=(3, 2, 1), n_without=1, terms=False, unseen=False)
    adata.obs["sctab_label_id"] = pd.Categorical(["CL:0000236"] * 3 + [None] * 4)
    return adata


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"])
def test_tables(tmp_path, suffix):
    adata = hostile()
    table = cell_table(adata.obs, adata.obs_names, key_added="sctab")
    path = tmp_path / f"cells{suffix}"
    write_table(table, path, suffix_of_table(path))
    if suffix == ".parquet":
        read = pd.read_parquet(path)
        assert list(read["label"].astype(object)[3:6]) == ["=1+1", "=1+1", HOSTILE[2]]
    else:
        read = pd.read_csv(path, sep="\t" if ".tsv" in suffix else ",")
        assert list(read["label"][3:6]) == ["'=1+1", "'=1+1", HOSTILE[2]]
    assert list(read.columns) == ["cell", "label", "label_id", "label_term", "confidence"]
    assert list(read["label_term"][:3]) == ["B cell"] * 3
    assert read["label"].isna().tolist() == [False] * 6 + [True]


def test_names_of_tables():
    assert suffix_of_table(Path("A.CSV.GZ")) == ".csv.gz"
    with pytest.raises(SettingError, match="Choose one that ends with `.csv`"):
        suffix_of_table(Path("a.xlsx"))


def test_mappings(tmp_path):
    adata = annotated(names=("B cell", "B lymphocyte", "my cells", "mine"), sizes=(2, 2, 2, 2), terms=False, unseen=False)
    types = cell_types(adata, answer="label", label_ids={"my cells": "CL:0000084"}, key_added="sctab")
    table = mapping_table(types).set_index("subject_label")
    assert table.loc["B lymphocyte", ["predicate_id", "object_id"]].tolist() == ["skos:exactMatch", "CL:0000236"]
    assert table.loc["my cells", ["predicate_id", "object_id"]].tolist() == ["skos:broadMatch", "CL:0000084"]
    assert table.loc["mine", "object_id"] == "sssom:NoTermFound"
    write_mappings(types, tmp_path / "labels.sssom.tsv", source="a model")
    lines = (tmp_path / "labels.sssom.tsv").read_text(encoding="utf-8").splitlines()
    about = yaml.safe_load("\n".join(line[1:] for line in lines if line.startswith("#")))
    assert about["object_source_version"] == types.ontology.version
    assert set(about["curie_map"]) == {"CL", "semapv", "skos", "sssom", "obo"}
    required = {"predicate_id", "mapping_justification", "subject_label"}  # and an object
    assert required <= set(next(line for line in lines if not line.startswith("#")).split("\t"))
