"""Models on a hub: a real server of its HTTP API, and the client of huggingface_hub."""

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.cards.test_facts import FACTS
from tests.hub import hub_server
from tests.reference import make_reference

import sctab
from sctab import ModelFormatError, ModelNotFoundError, OutputError, SctabWarning, SettingError
from sctab.errors import DownloadError
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")  # of huggingface_hub
QUICK = {"max_epochs": 4, "accelerator": "cpu", "enable_progress_bar": False}
REPO = "institute/blood"
hub = hub_server


@pytest.fixture(scope="module")
def model():
    cells = make_reference(n_donors=6)
    LinearClassifier.setup_anndata(cells, "cell_type", donor_key="donor_id")
    model = LinearClassifier(cells)
    model.train(**QUICK)
    return model


@pytest.fixture
def pushed(hub, model):
    """Hash of the commit."""
    return model.push_to_hub(REPO, facts=FACTS)


class TestPush:
    def test_one_commit_with_model_card_and_config(self, hub, pushed):
        repository = hub.repositories[REPO]
        assert repository.names["main"] == pushed
        files = repository.commits[pushed]
        names = {"README.md", "config.json", "model.json", "model.safetensors", "reference.safetensors", "card.json"}
        assert set(files) == names | {".gitattributes"}
        assert repository.titles[-1].startswith("Add LinearClassifier with 3 cell types and 60 genes")
        config = json.loads(files["config.json"])
        assert (config["library_name"], config["model_class"], config["labels"][0]) == ("sctab", "LinearClassifier", "B cell")
        text = files["README.md"].decode()
        header = yaml.safe_load(text.split("---\n")[1])
        assert (header["license"], header["library_name"], header["model-index"][0]["name"]) == ("cc-by-4.0", "sctab", "blood")
        assert "# Model card: `blood`" in text
        assert "**Draft.**" not in text

    def test_the_header_is_one_that_the_hub_reads(self, hub, pushed):
        from huggingface_hub import ModelCard

        card = ModelCard(hub.repositories[REPO].commits[pushed]["README.md"].decode())
        assert card.data.library_name == "sctab"
        assert {result.metric_type for result in card.data.eval_results} == {"f1", "accuracy"}

    def test_an_incomplete_card_is_refused_unless_it_is_a_draft(self, hub, model):
        with pytest.raises(SettingError, match="is not complete. It lacks the licence of the model"):
            model.push_to_hub(REPO)
        assert hub.repositories == {}
        commit = model.push_to_hub(REPO, draft=True, message="First")
        assert hub.repositories[REPO].titles[-1] == "First"
        assert b"**Draft.**" in hub.repositories[REPO].commits[commit]["README.md"]

    @pytest.mark.usefixtures("hub")
    def test_without_a_login(self, model, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "other")
        with pytest.raises(OutputError, match=r"could not be committed to .*Log in with `hf auth login`.*No model was committed"):
            model.push_to_hub(REPO, facts=FACTS)

    @pytest.mark.usefixtures("hub")
    def test_a_name_that_none_can_have(self, model):
        with pytest.raises(SettingError, match="`a/b/c` cannot be a repository of the hub"):
            model.push_to_hub("a/b/c", facts=FACTS)

    @pytest.mark.usefixtures("hub")
    def test_an_untrained_model(self):
        cells = make_reference()
        LinearClassifier.setup_anndata(cells, "cell_type")
        with pytest.raises(sctab.NotTrainedError):
            LinearClassifier(cells).push_to_hub(REPO)


class TestLoad:
    def test_the_same_model(self, hub, model, pushed):
        loaded = LinearClassifier.from_pretrained(REPO, revision=pushed, accelerator="cpu")
        query = make_reference(30, seed=9)
        np.testing.assert_array_equal(loaded.predict(query, soft=True), model.predict(query, soft=True))
        assert (loaded.name, loaded.sha256, loaded.spec) == ("blood", loaded.predictor.sha256, model.spec)
        assert hub.downloads("config.json")  # by which the hub counts downloads

    def test_a_second_time_without_network(self, hub, pushed, monkeypatch):
        LinearClassifier.from_pretrained(REPO, revision=pushed, accelerator="cpu")
        hub.requests.clear()
        monkeypatch.setenv("SCTAB_OFFLINE", "1")
        LinearClassifier.from_pretrained(REPO, revision=pushed, accelerator="cpu")
        assert hub.requests == []
        with pytest.raises(ModelNotFoundError, match=r"`institute/lung` at `v1` is not in the cache of the hub"):
            LinearClassifier.from_pretrained("institute/lung", revision="v1")

    def test_without_a_revision_there_is_a_warning(self, pushed):
        with pytest.warns(
            SctabWarning, match=f"No revision of `institute/blood` was given: its newest commit, `{pushed}`, is used"
        ):
            LinearClassifier.from_pretrained(REPO, accelerator="cpu")

    def test_an_older_commit(self, model, pushed):
        second = model.push_to_hub(REPO, facts=FACTS | {"license": "CC0-1.0"})
        assert second != pushed
        for revision, licence in ((pushed, "cc-by-4.0"), (second, "cc0-1.0"), ("main", "cc0-1.0")):
            path = sctab.cards.download_model(REPO, revision)
            assert yaml.safe_load((path / "README.md").read_text().split("---\n")[1])["license"] == licence

    @pytest.mark.usefixtures("hub")
    def test_an_ensemble(self):
        ensemble = DeepEnsemble(LinearClassifier, n_members=2)
        ensemble.setup_anndata(make_reference(), "cell_type", donor_key="donor_id")
        ensemble.train(**QUICK)
        commit = ensemble.push_to_hub("institute/ensemble", facts=FACTS)
        loaded = DeepEnsemble.from_pretrained("institute/ensemble", revision=commit, accelerator="cpu")
        query = make_reference(30, seed=9)
        np.testing.assert_array_equal(loaded.predict(query, soft=True), ensemble.predict(query, soft=True))

    def test_another_class(self, pushed):
        with pytest.raises(ModelFormatError, match="holds a LinearClassifier, not a SCTAB"):
            SCTAB.from_pretrained(REPO, revision=pushed)

    @pytest.mark.usefixtures("pushed")
    def test_what_does_not_exist(self):
        with pytest.raises(ModelNotFoundError, match="There is no repository `institute/lung` at"):
            LinearClassifier.from_pretrained("institute/lung", revision="main")
        with pytest.raises(ModelNotFoundError, match="has no branch, tag or commit `v9`"):
            LinearClassifier.from_pretrained(REPO, revision="v9")

    def test_pickles_are_left_there(self, hub, pushed):
        files = {"model.pt": pickle.dumps(1), "code.py": b"raise SystemExit"}
        commit = hub.commit(REPO, "main", files)
        path = sctab.cards.download_model(REPO, commit)
        assert not any(hub.downloads(name) for name in files)
        assert sorted(each.name for each in path.iterdir()) == sorted(
            {*hub.repositories[REPO].commits[pushed]} - {".gitattributes"}
        )

    def test_a_download_that_is_cut_off_is_resumed(self, hub, pushed):
        hub.cut["model.safetensors"] = 2
        LinearClassifier.from_pretrained(REPO, revision=pushed, accelerator="cpu")
        assert len(hub.downloads("model.safetensors")) == 3

    def test_damage_is_noticed(self, hub, pushed):
        content = bytearray(hub.repositories[REPO].commits[pushed]["model.safetensors"])
        content[-1] ^= 1
        commit = hub.commit(REPO, "main", {"model.safetensors": bytes(content)})
        with pytest.raises(ModelFormatError):
            LinearClassifier.from_pretrained(REPO, revision=commit)

    @pytest.mark.usefixtures("pushed")
    def test_a_hub_that_is_down(self, hub):
        hub.broken = True
        with pytest.raises((ModelNotFoundError, DownloadError), match="hub"):
            LinearClassifier.from_pretrained(REPO, revision="main")


def test_the_directory_opens_with_safetensors_and_json_alone(model, pushed):
    """In a process that can import neither sctab nor torch."""
    path = sctab.cards.download_model(REPO, pushed)
    program = f"""
import json, sys
sys.modules["sctab"] = sys.modules["torch"] = None
from pathlib import Path
from safetensors.numpy import load_file
path = Path({str(path)!r})
described, config = (json.loads((path / name).read_text("utf-8")) for name in ("model.json", "config.json"))
weights = load_file(path / "model.safetensors")
print(json.dumps([described["labels"]["names"], list(weights["network.classifier.weight"].shape), config["sha256"]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    labels, shape, sha256 = json.loads(done.stdout)
    assert (labels, shape) == (list(model.spec.labels.names), [3, 60])
    assert sha256 == hashlib.sha256(Path(path, "model.safetensors").read_bytes()).hexdigest()
