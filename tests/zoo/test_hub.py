"""`hf://organisation/name@revision`, wherever a model is named."""

import shutil
import warnings
from pathlib import Path

import pytest
from tests.cards.test_facts import FACTS
from tests.hub import hub_server
from tests.reference import make_reference
from tests.zoo.test_card import trained

import sctab
from sctab import ModelNotFoundError, SettingError
from sctab.zoo import _hub, write_card

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")  # of huggingface_hub
REPO = "institute/blood"
hub, model_directory = hub_server, trained


def test_a_directory_is_pushed_and_annotates_by_its_name(hub, model_directory, tmp_path):
    path = shutil.copytree(model_directory, tmp_path / "mine")
    with pytest.raises(SettingError, match="The card of the model lacks"):
        _hub.push(path, REPO)
    write_card(path, facts=FACTS)
    commit = _hub.push(path, REPO, message="Blood")
    assert hub.repositories[REPO].titles[-1] == "Blood"
    assert "MODEL_CARD.md" not in hub.repositories[REPO].commits[commit]
    name, query = f"hf://{REPO}@{commit}", make_reference(30, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)
        sctab.tl.annotate(query, name)
    assert query.obs["sctab_label"].tolist() == sctab.zoo.load(path, accelerator="cpu").predict(query).tolist()
    assert sctab.zoo.card_of(name).facts == sctab.zoo.card_of(path).facts


def test_without_the_newest_commit_named_there_is_a_warning(hub, model_directory):
    commit = _hub.push(Path(model_directory), REPO, draft=True)
    with pytest.warns(sctab.SctabWarning, match=f"its newest commit, `{commit}`, is used"):
        path = sctab.zoo.fetch(f"hf://{REPO}")
    assert sctab.zoo.fetch(f"hf://{REPO}@main", offline=True) == path
    with pytest.raises(ModelNotFoundError, match="There is no repository `institute/other`"):
        sctab.zoo.fetch("hf://institute/other@main")
