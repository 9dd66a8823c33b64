"""A small model, a cache of its own, and a server of models."""

import pytest
from tests.outputs import write_model
from tests.zoo_models import hosted, index_file

from sctab.io import _download


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Cache and configuration of this test alone."""
    monkeypatch.setenv("SCTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCTAB_CONFIG", str(tmp_path / "config.toml"))
    for name in ("SCTAB_ZOO", "SCTAB_OFFLINE", "SCTAB_ZENODO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_download, "_FIRST_PAUSE", 0.01)
    return tmp_path / "cache/zoo"


@pytest.fixture
def small(tmp_path):
    """Directory that looks like a model."""
    write_model(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def zoo(tmp_path, small):
    """Folder with a model and an index."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    index_file(folder / "models.json", hosted(folder, small))
    return folder
