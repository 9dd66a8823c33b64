"""Manifests against the sources that a store was built from."""

import json
from pathlib import Path

import numpy as np
from tests.studies import make_study

from sctab.corpus import CorpusConfig, build as build_corpus


def test_the_manifest_says_what_it_is_made_of(corpus, config):
    manifest = json.loads((corpus.path / "corpus.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == [f"../{Path(entry.path).name}" for entry in config.sources]
    assert all(source["size"] > 0 and len(source["sha256"]) == 64 for source in manifest["sources"])
    assert manifest["labels"]["ids"] == ["CL:0000236", "CL:0001054", "CL:0000623"]
    assert sum(manifest["splits"].values()) == 360
    assert manifest["duplicates"] == {"barcode": 0, "expression": 0}


def test_the_manifest_names_only_what_is_there(declared, tmp_path):
    make_study(9, n_obs=20, n_donors=1, types=("B cell", "plasma cell")).write_h5ad(tmp_path / "extra.h5ad")
    sources = [*declared["sources"], str(tmp_path / "extra.h5ad")]
    config = CorpusConfig.of(declared | {"sources": sources, "filters": [{"min_donors": 2}], "features": "union"})
    corpus = build_corpus(config, tmp_path / "c")
    assert "plasma cell" not in corpus.labels.names
    assert "plasma cell" not in corpus.manifest["names"]["label"]
    for column in ("label", "donor", "dataset"):
        codes = np.concatenate([corpus.codes(split)[column] for split in ("train", "validation", "test")])
        assert set(codes) == set(range(len(corpus.manifest["names"][column])))


def test_cells_with_the_same_expression_are_counted(declared, studies, tmp_path):
    again = studies["one"].copy()
    again.obs_names = [f"again-{i}" for i in range(again.n_obs)]
    again.write_h5ad(tmp_path / "again.h5ad")
    config = CorpusConfig.of(declared | {"sources": [*declared["sources"], str(tmp_path / "again.h5ad")], "features": "union"})
    assert build_corpus(config, tmp_path / "c").manifest["duplicates"]["expression"] == 120
