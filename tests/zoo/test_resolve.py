"""From what a user writes to the directory of a model."""

import re
import shutil
from pathlib import Path

import pytest
from tests.outputs import contents
from tests.served import Step, scripted, served
from tests.zoo_models import entry_values, hosted, index_file, tar_of, zip_of

import sctab
from sctab import DownloadError, ModelFormatError, ModelNotFoundError, SettingError
from sctab.zoo import _cache, fetch, load, load_predictor, model_path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
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
    (tmp_path / "other").mkdir()
    shutil.copy(archive, tmp_path / "other")
    assert model_path(tmp_path / "other" / archive.name) == path


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


class TestIndices:
    def test_a_name_is_fetched_and_stays(self, zoo, small):
        path = fetch("lung", index=zoo)
        assert contents(path) == contents(small)
        assert path.name == "lung@2.1"
        shutil.rmtree(zoo)
        for name in ("lung@2.1", "lung"):
            assert fetch(name, offline=True) == fetch(name) == path

    def test_the_environment_names_an_index(self, zoo, monkeypatch):
        monkeypatch.setenv("SCTAB_ZOO", str(zoo))
        assert model_path("lung") == model_path("lung@2.1")

    def test_the_newest_version(self, zoo, small):
        index_file(zoo / "models.json", *(hosted(zoo, small, version=version) for version in ("2.9", "2.10")))
        assert fetch("lung", index=zoo).name == "lung@2.10"
        assert fetch("lung@2.9", index=zoo).name == "lung@2.9"

    def test_a_new_version_is_looked_for_behind_an_old_copy(self, zoo, small):
        with served(zoo, scripted(Step(tag=None))) as address:
            fetch("lung", index=address)
            index_file(zoo / "models.json", hosted(zoo, small), hosted(zoo, small, version="3"))
            assert fetch("lung", index=address).name == "lung@2.1"  # the copy is fresh
            assert fetch("lung@3", index=address).name == "lung@3"

    def test_another_hash_than_that_of_the_index_is_refused(self, zoo, cache):
        archive = zoo / "lung-2.1.tar"
        content = bytearray(archive.read_bytes())
        content[600] ^= 1
        archive.write_bytes(content)
        with pytest.raises(DownloadError, match="is not the file that was expected: its SHA-256 is"):
            fetch("lung", index=zoo)
        assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []

    def test_another_hash_under_the_same_version_is_refused(self, zoo, small):
        fetch("lung", index=zoo)
        sctab.zoo.remove("lung@2.1")
        (small / "model.safetensors").write_bytes(b"other")
        index_file(zoo / "models.json", hosted(zoo, small))
        with pytest.raises(DownloadError, match="has another SHA-256 in .* than when it was first downloaded"):
            fetch("lung", index=zoo)

    def test_the_second_address_is_used_where_the_first_fails(self, zoo, small):
        values = hosted(zoo, small)
        values["urls"] = ["none.tar", values.pop("url")]
        index_file(zoo / "models.json", values)
        assert contents(fetch("lung", index=zoo)) == contents(small)

    def test_published_files_are_imported_with_a_command(self, zoo):
        index_file(
            zoo / "models.json", entry_values(url="https://a.org/x.tar.gz", import_command="sctab import-checkpoint x.tar.gz")
        )
        with pytest.raises(
            ModelNotFoundError, match=r"at `https://a.org/x.tar.gz`. Download it, and import it with `sctab import-"
        ):
            fetch("lung", index=zoo)

    def test_an_unknown_name_lists_what_indices_have_and_which_failed(self, zoo, tmp_path):
        with pytest.raises(ModelNotFoundError, match="Did you mean `lung`") as found:
            fetch("lungs", index=[zoo, tmp_path / "none.json"])
        assert re.search("Models of indices: .*`lung`", str(found.value))
        assert "Indices that could not be read: `" in str(found.value)

    def test_offline_says_what_to_do(self, zoo, monkeypatch):
        monkeypatch.setenv("SCTAB_OFFLINE", "1")
        with pytest.raises(DownloadError, match="`lung@2.1` is not in the cache .* `sctab models fetch lung@2.1`, or unset"):
            fetch("lung", index=zoo)

    def test_a_damaged_model_is_fetched_again(self, zoo, small):
        path = fetch("lung@2.1", index=zoo)
        (path / "model.safetensors").unlink()
        assert contents(fetch("lung@2.1", index=zoo)) == contents(small)

    def test_a_model_of_an_index_annotates(self, zoo, monkeypatch):
        index_file(zoo / "models.json", hosted(zoo, sctab.zoo.packaged_path("pbmc"), name="blood"))
        monkeypatch.setenv("SCTAB_ZOO", str(zoo))
        assert load_predictor("blood@2.1").spec == load_predictor("pbmc").spec
        assert load("blood").name == "blood@2.1"


def test_messages_show_no_credentials(tmp_path):
    values = entry_values(url="https://me:secret@example.org/lung.ckpt", import_command="sctab import-checkpoint lung.ckpt")
    index_file(tmp_path / "models.json", values)
    with pytest.raises(ModelNotFoundError, match="at `https://example.org/lung.ckpt`"):
        fetch("lung", index=tmp_path)


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000, "a\0b"], ids=["long", "deep", "null"])
def test_paths_that_no_file_can_have_are_not_found(name):
    for given in (name, Path(name)):
        for function in (load_predictor, sctab.zoo.card_of, sctab.zoo.write_card):
            with pytest.raises(ModelNotFoundError):
                function(given)


@pytest.mark.parametrize("model", [5, None, b"pbmc", ["pbmc"]])
def test_what_is_no_name_is_refused(model):
    for function in (fetch, sctab.zoo.info, sctab.zoo.verify, load):
        with pytest.raises(SettingError, match="must be a string or a path. Provide a name"):
            function(model)
    with pytest.raises(SettingError, match="is neither a model nor what names one"):
        load_predictor(model)
