"""From what a user writes to the directory of a model."""

import shutil

import pytest
from tests.outputs import contents
from tests.zoo_models import tar_of, zip_of

import sctab
from sctab import ModelFormatError, ModelNotFoundError
from sctab.zoo import _cache, load, load_predictor, model_path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_directories_and_packaged_names(tmp_path):
    pbmc = sctab.zoo.packaged_path("pbmc")
    assert model_path("pbmc") == model_path(pbmc) == model_path(str(pbmc)) == pbmc
    (tmp_path / "pbmc").mkdir()
    assert str(model_path("pbmc")) == "pbmc"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_archive_is_unpacked_once(tmp_path, suffix):
    pbmc = sctab.zoo.packaged_path("pbmc")
    archive = tmp_path / f"blood{suffix}"
    zip_of(pbmc, archive) if suffix == ".zip" else tar_of(pbmc, archive, mode=f"w:{suffix[5:]}")
    path = model_path(archive.name)
    assert path.name == "blood"
    assert contents(path) == contents(pbmc)
    assert model_path(archive) == path
    assert len(_cache.everything()) == 1
    assert load_predictor(archive).spec == load_predictor("pbmc").spec
    assert load(archive).name == "blood"
    shutil.copy(archive, tmp_path / f"copy{suffix}")
    assert model_path(f"copy{suffix}") == path


def test_a_hostile_archive_leaves_nothing(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    with pytest.raises(ModelFormatError, match="`a.tar` cannot be unpacked"):
        model_path("a.tar")
    assert _cache.everything() == []
    assert list(_cache.partial_dir().iterdir()) == []


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "model.pt").write_text("x")
    with pytest.raises(ModelNotFoundError, match=r"`model.pt` is a file, and neither a directory of a model nor an archive"):
        model_path("model.pt")


@pytest.mark.parametrize("name", ["pbmcs", "blood/pbmc", "PBMC", "pbmc@9"])
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(ModelNotFoundError, match="There is no model") as found:
        model_path(name)
    assert "Packaged models: `pbmc`" in str(found.value)


def test_a_directory_beside_a_wrong_path_is_proposed(tmp_path):
    shutil.copytree(sctab.zoo.packaged_path("pbmc"), tmp_path / "blood_model")
    with pytest.raises(ModelNotFoundError, match="Did you mean `blood_model`"):
        model_path("blood-model")
