"""Models in the cache: compared, removed, pruned."""

import os

import pytest
from tests.zoo_models import hosted, index_file, tar_of

import sctab
from sctab import ModelNotFoundError, SettingError
from sctab.zoo import _cache, fetch, prune, remove, verify


@pytest.fixture
def blood(tmp_path, zoo):
    """A real model that was fetched."""
    index_file(zoo / "models.json", *(hosted(zoo, sctab.zoo.packaged_path("pbmc"), name="blood", version=v) for v in ("1", "2")))
    return [fetch(f"blood@{version}", index=zoo) for version in "12"]


def test_a_whole_model_is_sound(blood):
    found = verify("blood@1")
    assert (found.path, found.is_sound, found.n_files) == (blood[0], True, len(list(blood[0].iterdir())))
    assert found.n_bytes == sum(path.stat().st_size for path in blood[0].iterdir())
    assert verify("pbmc").is_sound
    assert verify(str(blood[1])).is_sound


@pytest.mark.parametrize("name", ["model.safetensors", "reference.safetensors", "model.json", "MODEL_CARD.md"])
def test_a_changed_byte_is_found(blood, name):
    content = bytearray((blood[0] / name).read_bytes())
    content[-2] ^= 1
    (blood[0] / name).write_bytes(content)
    (problem,) = verify("blood@1").problems
    assert name in problem
    assert "is not what was downloaded" in problem


def test_a_missing_file_is_found(blood):
    (blood[0] / "model.json").unlink()
    assert "cannot be read: No such file" in verify("blood@1").problems[0]


def test_a_damaged_directory_of_the_user_is_found(tmp_path):
    model = sctab.zoo.load("pbmc")
    model.save(tmp_path / "mine")
    (tmp_path / "mine/model.safetensors").write_bytes(b"x")
    assert "does not hold the weights" in verify(tmp_path / "mine").problems[0]
    with pytest.raises(ModelNotFoundError):
        verify("heart")


def test_one_version_or_all_are_removed(blood):
    freed = remove("blood@1")
    assert freed > 1e6
    assert not blood[0].exists()
    assert blood[1].exists()
    remove("blood")
    assert _cache.everything() == []
    with pytest.raises(ModelNotFoundError, match=r"`blood` is not in the cache .* Models in the cache: none"):
        remove("blood")


def test_archives_of_the_user_are_removed_from_the_cache_alone(tmp_path):
    archive = tar_of(sctab.zoo.packaged_path("pbmc"), tmp_path / "mine.tar")
    fetch(archive)
    remove(str(archive))
    assert archive.exists()
    assert _cache.everything() == []


def test_a_packaged_model_is_not_removed():
    with pytest.raises(SettingError, match="`pbmc` comes with the package"):
        remove("pbmc")


def test_unused_and_incomplete_models_are_pruned(blood, cache):
    (cache / "partial" / f"{_cache.key_of('x')}.part").write_bytes(b"12345")
    assert prune() == ([], 0)
    os.utime(blood[0].parent / "download.json", (1, 1))
    removed, freed = prune()
    assert removed == ["blood@1"]
    assert freed > 1e6
    (blood[1] / "model.json").unlink()
    assert prune()[0] == ["blood@2"]
    assert prune(days=0) == ([], 5)
    with pytest.raises(SettingError, match="must be at least 0, and is -1"):
        prune(days=-1)
