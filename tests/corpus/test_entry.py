"""Sources of a corpus, as they are declared and named."""

import pytest

from sctab.corpus import CorpusConfig, plan as plan_corpus
from sctab.errors import SettingError


def plan(declared, **changes):
    return plan_corpus(CorpusConfig.of(declared | changes))


def test_a_pattern_and_a_directory(declared, tmp_path):
    for given in ("*.h5ad", "."):
        config = CorpusConfig.of(declared | {"sources": [given]}, folder=tmp_path)
        assert [entry.name for entry in config.sources] == ["one", "three", "two"]


def test_a_source_twice(declared):
    with pytest.raises(SettingError, match="is named twice"):
        plan(declared, sources=[*declared["sources"], declared["sources"][0]])
