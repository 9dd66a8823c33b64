"""Names of sources, and sources that are opened again."""

import os
from dataclasses import replace

from tests.studies import make_study

from sctab.corpus import Corpus, CorpusConfig, build as build_corpus, plan


def test_of_the_same_name_are_different_datasets(declared, studies, tmp_path):
    paths = []
    for number, name in enumerate(studies):
        path = tmp_path / f"study{number}" / "counts.h5ad"
        path.parent.mkdir()
        studies[name].write_h5ad(path)
        paths.append(str(path))
    planned = plan(CorpusConfig.of(declared | {"sources": paths, "features": "union"}))
    assert planned.cells.names["dataset"] == ("study0/counts", "study1/counts", "study2/counts")
    assert planned.cells.n_names("donor") == 12


def test_changes_are_found_from_anywhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = replace(config, sources=tuple(replace(entry, path=os.path.relpath(entry.path)) for entry in config.sources))
    corpus = build_corpus(config, "c")
    make_study(1, n_obs=99).write_h5ad(tmp_path / "one.h5ad")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Corpus.open(tmp_path / "c").verify(sources=True) == ["`../one.h5ad` changed since the corpus was built."]
    assert corpus.sha256 == Corpus.open(tmp_path / "c").sha256
