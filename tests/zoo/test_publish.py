"""Models into an index, and back."""

import json
import re
import subprocess
import sys
from threading import Thread

import pytest
from tests.outputs import contents, names_in
from tests.zoo_models import small_model

import sctab
from sctab import DataFileError, OutputError, OutputExistsError, SettingError
from sctab.zoo import fetch, info, publish
from sctab.zoo._index import read_index


def published(folder, **options):
    return publish("pbmc", folder, **({"name": "blood", "version": "1.0"} | options))


def test_what_is_published_is_fetched(tmp_path):
    entry = published(tmp_path / "new/zoo")
    assert sorted(path.name for path in (tmp_path / "new/zoo").iterdir()) == ["blood-1.0.tar", "models.json"]
    listed = json.loads((tmp_path / "new/zoo/models.json").read_text())
    assert listed["models"][0]["url"] == "blood-1.0.tar"
    assert read_index((tmp_path / "new/zoo/models.json").read_bytes(), "").models == (entry,)
    assert (entry.license, entry.organism, entry.tissues, len(entry.labels)) == ("BSD-3-Clause", "Homo sapiens", ("blood",), 13)
    assert entry.scores
    assert entry.sources[0].doi
    path = fetch("blood@1.0", index=tmp_path / "new/zoo")
    assert set(contents(path)) == set(contents(sctab.zoo.packaged_path("pbmc")))
    assert (path / "MODEL_CARD.md").read_text() == sctab.zoo.card_of("pbmc").to_markdown()
    assert sctab.zoo.load_predictor(path).spec == sctab.zoo.load_predictor("pbmc").spec
    assert info("blood", index=tmp_path / "new/zoo").entry.sha256 == entry.sha256


def test_the_same_content_can_be_published_again_and_another_not(tmp_path):
    first = published(tmp_path)
    assert published(tmp_path) == first
    model = sctab.zoo.load("pbmc")
    model.save(tmp_path / "other", description="another")
    with pytest.raises(SettingError, match="the content of a version never changes"):
        publish(tmp_path / "other", tmp_path, name="blood", version="1.0", draft=True)
    entry = publish(tmp_path / "other", tmp_path, name="blood", version="1.1", draft=True)
    assert [each.version for each in read_index((tmp_path / "models.json").read_bytes(), "").models] == ["1.0", "1.1"]
    assert entry.description == "Draft: another"
    assert entry.license == "unknown"
    (tmp_path / "blood-1.2.tar").write_bytes(b"of the user")
    with pytest.raises(OutputExistsError, match="exists with another content, and no version changes"):
        published(tmp_path, version="1.2")
    assert (tmp_path / "blood-1.2.tar").read_bytes() == b"of the user"


def test_a_card_that_is_not_complete_is_refused(tmp_path):
    sctab.zoo.load("pbmc").save(tmp_path / "mine")
    before = contents(tmp_path / "mine")
    with pytest.raises(SettingError, match=r"The card of .* is not complete. It lacks .*`draft=True`"):
        publish(tmp_path / "mine", tmp_path / "zoo", version="1.0")
    assert not (tmp_path / "zoo").exists()
    facts = json.loads((sctab.zoo.packaged_path("pbmc") / "card.json").read_text())["facts"]
    entry = publish(tmp_path / "mine", tmp_path / "zoo", version="1.0", facts=facts, draft=True)
    assert entry.license == "BSD-3-Clause"
    assert contents(tmp_path / "mine") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Blood"}, "`name='Blood'` is not a name of lower-case letters"),
        ({"version": "v1"}, "`version='v1'` must be numbers separated by dots"),
        ({"to": "https://example.org/zoo"}, "cannot be written over HTTP"),
        ({"to": "zenodo:1"}, "cannot be written by this version"),
    ],
    ids=str,
)
def test_what_is_invalid_is_refused(tmp_path, options, message):
    with pytest.raises(SettingError, match=message):
        published(options.pop("to", tmp_path), **options)
    assert not (tmp_path / "models.json").exists()


def test_scvi_tools_is_not_imported():
    code = "import sctab.zoo, sys; sctab.zoo.publish; print('scvi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_index_that_is_damaged_stays_as_it_is(tmp_path):
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(DataFileError, match="is not a valid index"):
        published(tmp_path)
    assert (tmp_path / "models.json").read_text() == "{"
    assert not (tmp_path / "blood-1.0.tar").exists()


def test_an_object_store(tmp_path):
    pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
    for version in ("1.0", "1.1"):
        published("memory://bucket/zoo", version=version)
    assert fetch("blood", index="memory://bucket/zoo").name == "blood@1.1"


def test_several_take_turns(tmp_path):
    threads = [Thread(target=published, args=(tmp_path,), kwargs={"version": version}) for version in ("1", "2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.version for each in read_index((tmp_path / "models.json").read_bytes(), "").models} == {"1", "2"}


@pytest.mark.parametrize("inside", ["", "zoo", "a/../b"])
def test_the_directory_of_the_model_is_not_changed(tmp_path, inside):
    model = small_model(tmp_path / "blood")
    before = contents(model)
    with pytest.raises(SettingError, match="is in the directory of the model, which is not changed"):
        publish(model, model / inside, version="1.0")
    assert contents(model) == before


def test_an_empty_target_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="is an empty string"):
        publish("pbmc", "", version="1.0")
    assert not any(tmp_path.iterdir())


def test_a_damaged_index_is_named(tmp_path):
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(DataFileError, match=rf"`{re.escape(str(tmp_path / 'models.json'))}` is not a valid index"):
        publish("pbmc", tmp_path, version="1.0")
    assert names_in(tmp_path) == ["models.json"]


def test_addresses_of_an_index_stay_relative(tmp_path):
    for version in ("1.0", "2.0"):
        publish("pbmc", tmp_path, version=version)
    index = json.loads((tmp_path / "models.json").read_text())
    assert [entry["url"] for entry in index["models"]] == ["pbmc-1.0.tar", "pbmc-2.0.tar"]


def test_an_archive_in_an_object_store_is_not_replaced():
    system = pytest.importorskip("fsspec", reason="the extra `remote` is not installed").filesystem("memory")
    system.pipe_file("/lost/pbmc-1.0.tar", b"of another model")
    with pytest.raises(OutputExistsError, match="has `pbmc-1.0.tar` with another content, and no version changes"):
        publish("pbmc", "memory://lost", version="1.0")
    assert system.cat_file("/lost/pbmc-1.0.tar") == b"of another model"
    assert not system.exists("/lost/models.json")


@pytest.mark.parametrize(
    ("options", "message"), [({"version": 1.0}, "`version=1.0` must be numbers"), ({"name": 5}, "`name=5` is not a name")]
)
def test_options_of_another_type_are_refused(tmp_path, options, message):
    with pytest.raises(SettingError, match=message):
        publish("pbmc", tmp_path, **({"version": "1.0"} | options))


def test_a_folder_that_cannot_have_this_name():
    with pytest.raises(OutputError, match="could not be written"):
        publish("pbmc", "a\0b", version="1.0")
