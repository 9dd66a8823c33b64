"""`hf://organisation/name@revision`, wherever a model is named."""

import shutil
import warnings
from pathlib import Path

import pytest
from tests.cards.test_facts import FACTS
from tests.hub import hub_server
from tests.reference import make_reference
from tests.zoo.test_card import trained
from typer.testing import CliRunner

import sctab
from sctab import ModelNotFoundError, OutputError, SettingError
from sctab.cli import app
from sctab.zoo import _hub, write_card

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")  # of huggingface_hub
REPO = "institute/blood"
hub, model_directory = hub_server, trained


def test_a_directory_is_pushed_and_annotates_by_its_name(hub, model_directory, tmp_path):
    path = shutil.copytree(model_directory, tmp_path / "mine")
    with pytest.raises(SettingError, match="is not complete. It lacks"):
        _hub.push(path, REPO)
    write_card(path, facts=FACTS)
    commit = _hub.push(path, REPO, message="Blood")
    assert hub.repositories[REPO].titles[-1] == "Blood"
    assert "MODEL_CARD.md" not in hub.repositories[REPO].commits[commit]
    name, query = f"hf://{REPO}@{commit}", make_reference(30, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)
        sctab.tl.annotate(query, name)
    assert query.uns["sctab"]["model"]["name"] == name
    assert query.obs["sctab_label"].tolist() == sctab.zoo.load(path, accelerator="cpu").predict(query).tolist()
    assert sctab.zoo.card_of(name).facts == sctab.zoo.card_of(path).facts


def test_without_the_newest_commit_named_there_is_a_warning(hub, model_directory):
    commit = _hub.push(Path(model_directory), REPO, draft=True)
    with pytest.warns(
        sctab.SctabWarning, match=f"its newest commit, `{commit}`, is used.*`revision` or name `hf://{REPO}@{commit}`"
    ):
        path = sctab.zoo.fetch(f"hf://{REPO}")
    assert sctab.zoo.fetch(f"hf://{REPO}@main", offline=True) == path
    with pytest.raises(ModelNotFoundError, match="There is no repository `institute/other`"):
        sctab.zoo.fetch("hf://institute/other@main")


def test_a_version_is_published_once(hub, model_directory, tmp_path):
    path = shutil.copytree(model_directory, tmp_path / "blood")
    with pytest.raises(SettingError, match="is not complete"):
        sctab.zoo.publish(path, f"hf://{REPO}", version="1.0")
    assert hub.repositories == {}
    entry = sctab.zoo.publish(path, f"hf://{REPO}", version="1.0", facts=FACTS)
    assert entry.urls == (f"hf://{REPO}@1.0",)
    assert sctab.zoo.card_of(entry.urls[0]).missing == ()
    commits = len(hub.repositories[REPO].commits)
    with pytest.raises(SettingError, match=r"has the tag `1\.0` already, and a version never changes"):
        sctab.zoo.publish(path, f"hf://{REPO}", version="1.0", facts=FACTS)
    assert len(hub.repositories[REPO].commits) == commits


def test_the_command_publishes(hub, model_directory, tmp_path):
    path = shutil.copytree(model_directory, tmp_path / "blood")
    result = CliRunner().invoke(app, ["models", "publish", str(path), "--to", f"hf://{REPO}", "--version", "2.0", "--draft"])
    assert result.exit_code == 0, result.output
    assert f"Use it as `hf://{REPO}@2.0`" in result.output
    assert set(hub.repositories[REPO].tags) == {"2.0"}


def test_a_commit_without_its_tag_is_named(hub, model_directory, tmp_path, monkeypatch):
    path = shutil.copytree(model_directory, tmp_path / "blood")

    def refuse(*_, **__):
        raise OSError("the tag was refused")

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.HfApi.create_tag", refuse)
        with pytest.raises(
            OutputError, match=r"has the commit `\w+` and did not get the tag `1.0`: the tag was refused. Publish the same"
        ):
            sctab.zoo.publish(path, f"hf://{REPO}", version="1.0", draft=True)
    sctab.zoo.publish(path, f"hf://{REPO}", version="1.0", draft=True)
    assert set(hub.repositories[REPO].tags) == {"1.0"}


def test_files_below_that_are_not_of_the_model_stay_here(hub, model_directory, tmp_path):
    path = shutil.copytree(model_directory, tmp_path / "blood")
    shutil.copytree(model_directory, path / "earlier" / "first")
    sctab.zoo.publish(path, f"hf://{REPO}", version="1.0", draft=True)
    (files,) = [files for files in hub.repositories[REPO].commits.values() if "model.json" in files]
    assert not [name for name in files if "earlier" in name]
