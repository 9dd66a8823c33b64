"""A corpus of the studies."""

import pytest

from sctab.corpus import CorpusConfig, build


@pytest.fixture
def config(declared):
    return CorpusConfig.of(declared | {"features": "union"})


@pytest.fixture
def corpus(config, tmp_path):
    pytest.importorskip("annbatch")
    return build(config, tmp_path / "blood.corpus", shard_size=50)
