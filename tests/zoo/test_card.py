"""Cards of models: what is measured, what is declared, and what is missing."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.cards.test_facts import FACTS, SOURCE
from tests.clusters import cells_of_types
from tests.outputs import names_in
from tests.reference import make_reference

import sctab
from sctab import InputValueError, ModelFormatError, SettingError
from sctab.cards import CardFacts, Confusion, DataSource
from sctab.cards._command import training_code
from sctab.cards._markdown import _plain
from sctab.io import strict_json
from sctab.model import DeepEnsemble, LinearClassifier, load_model
from sctab.zoo import _card, add_scores, card_of, write_card

QUICK = {"max_epochs": 6, "accelerator": "cpu", "enable_progress_bar": False}
FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A calibrated model with donors."""
    cells = make_reference(n_donors=6)
    LinearClassifier.setup_anndata(cells, "cell_type", donor_key="donor_id")
    model = LinearClassifier(cells)
    model.train(**QUICK)
    path = tmp_path_factory.mktemp("cards") / "blood"
    model.save(path, description="Simulated blood")
    return path


@pytest.fixture
def path(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "blood")


def header_of(markdown):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", markdown, re.DOTALL)[1])


class TestMissing:
    def test_what_was_not_declared(self, path):
        card = card_of(path)
        assert [part.split(" (")[0] for part in card.missing] == [
            "the licence of the model",
            "the sources of the training cells, with their licences",
        ]
        assert "**Draft.** The card lacks:" in card.to_markdown()

    def test_nothing(self, path):
        card = write_card(path, facts=FACTS)
        assert card.missing == ()
        assert "Draft" not in (path / "MODEL_CARD.md").read_text()
        assert card.to_markdown() == (path / "MODEL_CARD.md").read_text() == card_of(path).to_markdown()
        assert load_model(path, accelerator="cpu").spec == card.spec

    def test_what_was_not_measured(self, tmp_path):
        cells = make_reference()
        LinearClassifier.setup_anndata(cells, "cell_type")
        model = LinearClassifier(cells)
        model.train(**QUICK, calibrate=False)
        model.save(tmp_path / "model")
        missing = " ".join(card_of(tmp_path / "model").missing)
        for part in ("held-out donors", "calibration on held-out cells", "which cells are unseen", "fingerprints"):
            assert part in missing

    @pytest.mark.parametrize(
        "name", sorted(each.parent.relative_to(FIXTURES).as_posix() for each in FIXTURES.glob("*/[!e]*/model.json"))
    )
    @pytest.mark.filterwarnings("ignore:The model was saved by an earlier version")
    def test_models_of_every_version_have_a_card(self, name):
        card = card_of(FIXTURES / name)
        assert card.missing
        assert f"# Model card: `{card.name}`" in card.to_markdown()

    def test_clusters_have_no_true_labels(self):
        card = card_of(FIXTURES / "format_3" / "scdeepcluster")
        assert not [part for part in card.missing if "held-out" in part or "per label" in part]
        assert "clusters, which have no names of cell types" in card.to_markdown()


def test_a_card_is_short_in_a_session_and_whole_in_a_notebook(path):
    assert repr(card_of(path)).startswith(
        "ModelCard of `blood`: LinearClassifier with 3 cell types and 60 genes; missing: the licence"
    )
    card = write_card(path, facts=FACTS)
    assert repr(card).endswith("genes; missing: nothing")
    assert card._repr_markdown_().lstrip().startswith("# Model card: `blood`")


class TestFacts:
    def test_cells_that_do_not_add_up(self, path):
        with pytest.raises(SettingError, match=r"state 200 training cells, and the model learned 240. Correct `n_cells`"):
            write_card(path, facts=FACTS | {"sources": [SOURCE | {"n_cells": 200}]})
        assert not (path / "card.json").exists()

    def test_calibration_cells_that_are_too_few(self, path):
        other = SOURCE | {"name": "other", "n_cells": 3, "used_for": "calibration"}
        with pytest.raises(SettingError, match="state 3 calibration cells, and the model was calibrated on 240"):
            write_card(path, facts=FACTS | {"sources": [SOURCE, other]})

    def test_a_card_of_other_weights(self, path, tmp_path):
        write_card(path, facts=FACTS)
        other = shutil.copytree(FIXTURES / "format_3" / "linear", tmp_path / "other")
        shutil.copy(path / "card.json", other)
        with pytest.raises(ModelFormatError, match="belongs to other weights"):
            card_of(other)

    def test_a_card_that_was_edited(self, path):
        write_card(path, facts=FACTS)
        values = json.loads((path / "card.json").read_text())
        values["facts"]["license"] = "CC0-1.0"
        (path / "card.json").write_text(json.dumps(values))
        with pytest.raises(ModelFormatError, match=r"`.*card\.json` cannot be trusted"):
            card_of(path)

    def test_facts_stay_when_the_card_is_written_again(self, path):
        first = write_card(path, facts=FACTS)
        assert write_card(path).facts == first.facts

    def test_a_directory_with_a_card_is_replaced_as_a_whole(self, path):
        write_card(path, facts=FACTS)
        load_model(path, accelerator="cpu").save(path, overwrite=True)
        assert not (path / "card.json").exists()


class TestScores:
    def test_other_cells(self, path):
        write_card(path, facts=FACTS)
        scores = add_scores(path, make_reference(300, seed=7), "cell_type", name="other study", donor_key="donor_id")
        card = card_of(path)
        assert card.tests == (scores,)
        assert (scores.n_cells, scores.n_units, scores.unit) == (300, 4, "donor")
        assert card.scores["other study: macro_f1"] == pytest.approx(scores.macro_f1, abs=1e-4)
        predicted = load_model(path, accelerator="cpu").predict(make_reference(300, seed=7))
        assert scores.accuracy == pytest.approx((predicted == make_reference(300, seed=7).obs["cell_type"].to_numpy()).mean())
        assert "## Scores on other study" in (path / "MODEL_CARD.md").read_text()
        assert scores.flagged_unseen is not None

    def test_the_same_name_replaces(self, path):
        for seed in (7, 8):
            last = add_scores(path, make_reference(120, seed=seed), "cell_type", name="other study")
        assert card_of(path).tests == (last,)

    def test_cells_that_were_learned_are_refused(self, path):
        with pytest.raises(InputValueError, match=r"The model has learned 240 of the 240 cells of 'again'. Scores on them"):
            add_scores(path, make_reference(n_donors=6), "cell_type", name="again")
        assert not (path / "card.json").exists()

    def test_scores_of_an_uncalibrated_model(self, tmp_path):
        path = shutil.copytree(FIXTURES / "format_2" / "linear", tmp_path / "old")
        scores = add_scores(path, make_reference(120, seed=7)[:, :40].copy(), "cell_type", name="other")
        assert scores.promises[0].answered == 0
        assert card_of(path).held_out is None

    def test_clusters_and_names(self, path, tmp_path):
        with pytest.raises(SettingError, match="one line of text"):
            add_scores(path, make_reference(), "cell_type", name=" ")
        clusters = shutil.copytree(FIXTURES / "format_3" / "scdeepcluster", tmp_path / "clusters")
        with pytest.raises(SettingError, match="holds clusters, which have no true labels"):
            add_scores(clusters, cells_of_types(), "type", name="cells")


class TestMarkdown:
    def test_the_header_is_that_of_the_hub(self, path):
        header = header_of(write_card(path, facts=FACTS).to_markdown())
        assert (header["license"], header["library_name"], header["datasets"]) == ("cc-by-4.0", "sctab", ["PBMC"])
        assert {"sctab", "blood", "Homo sapiens", "LinearClassifier"} <= set(header["tags"])
        (result,) = header["model-index"][0]["results"]
        assert result["metrics"][0]["type"] == "f1"
        assert result["metrics"][0]["value"] == pytest.approx(card_of(path).held_out.macro_f1, abs=1e-4)

    def test_a_licence_that_the_hub_does_not_know(self, path):
        header = header_of(write_card(path, facts=FACTS | {"license": "Our own"}).to_markdown())
        assert (header["license"], header["license_name"]) == ("other", "Our own")

    def test_tables_hold_together(self, path):
        card = write_card(path, facts=FACTS | {"sources": [SOURCE | {"description": "a | b"}], "citation": "Lee 2020"})
        text = card.to_markdown()
        assert "a \\| b" in text
        assert "Cite: Lee 2020" in text
        assert "Simulated blood." in text
        for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


def test_fields_of_an_entry(path):
    fields = write_card(path, facts=FACTS).to_entry_fields()
    assert fields["labels"] == ["B cell", "T cell", "monocyte"]
    assert fields["label_ids"] == ["CL:0000236", "CL:0000084", "CL:0000576"]
    assert (fields["n_cells"], fields["license"], fields["description"]) == (240, "CC-BY-4.0", "Simulated blood")
    assert fields["sources"] == [{"name": "PBMC", "url": "", "license": "CC-BY-4.0", "doi": SOURCE["doi"], "n_cells": 240}]
    assert fields["scores"]["n_donors"] == 6
    assert json.loads(json.dumps(fields)) == fields


def test_an_ensemble(tmp_path):
    ensemble = DeepEnsemble(LinearClassifier, n_members=2)
    ensemble.setup_anndata(make_reference(), "cell_type", donor_key="donor_id")
    ensemble.train(**QUICK)
    ensemble.save(tmp_path / "both")
    card = write_card(tmp_path / "both", facts=FACTS)
    assert card.missing == ()
    assert card.calibration == ensemble.calibration
    assert "with 2 members" in card.to_markdown()
    ensemble.save(tmp_path / "both", overwrite=True)  # a card beside the members is ours
    assert np.isfinite(list(card.scores.values())).all()


def test_the_packaged_model_has_a_complete_card():
    for model in sctab.zoo.list_models():
        card = card_of(model.path)
        assert card.missing == ()
        assert (model.path / "MODEL_CARD.md").read_text(encoding="utf-8") == card.to_markdown()


def test_stored_counts_are_disclosed(tmp_path):
    cells = make_reference()
    LinearClassifier.setup_anndata(cells, "cell_type")
    model = LinearClassifier(cells)
    for sketch, is_said in ((0, False), (60, True)):
        model.train(**QUICK, calibrate=False, sketch=sketch)
        model.save(tmp_path / "model", overwrite=True)
        card = card_of(tmp_path / "model")
        assert ("**Counts of 60 cells of the reference are stored" in card.to_markdown()) == is_said
        assert ("    sketch=60,\n" in card.command) == is_said


HOSTILE = "a|b `c` <img src=x onerror=alert(1)> [d](javascript:e)\n\n## Scores on held-out cells\n\n| macro F1 | 1.000 |"


class TestHostileText:
    """Names and sentences of strangers are shown as they are: none of them makes a heading, a table, a link or HTML."""

    @pytest.fixture
    def markdown(self, path):
        card = card_of(path)
        labels = replace(card.spec.labels, names=(HOSTILE, *card.spec.labels.names[1:]), ontology_version=HOSTILE)
        training = dict(card.spec.training) | {"settings": {}, "published": True, "source": HOSTILE, "sha256": HOSTILE}
        spec = replace(card.spec, labels=labels, description=HOSTILE, versions={HOSTILE: HOSTILE}, training=training)
        source = DataSource(name=HOSTILE, license=HOSTILE, n_cells=240, url="https://a.org/x)<script>|`", description=HOSTILE)
        facts = CardFacts(
            license=HOSTILE, organism=HOSTILE, tissues=(HOSTILE,), sources=(source,), limits=(HOSTILE,), citation=HOSTILE
        )
        test = replace(
            card.held_out, name=HOSTILE, confusions=(Confusion(label=HOSTILE, predicted=HOSTILE, n_cells=9, fraction=0.5),)
        )
        return replace(card, name=HOSTILE, spec=spec, facts=facts, tests=(test,)).to_markdown()

    def test_the_header_is_data(self, markdown):
        header = header_of(markdown)
        assert header["license_name"] == HOSTILE
        assert header["tags"][-1] == HOSTILE

    def test_no_heading_and_no_row_is_added(self, markdown):
        body = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
        assert [line for line in body.splitlines() if line.startswith("## Scores on held-out cells")] == [
            "## Scores on held-out cells"
        ]
        assert not re.search(r"^\| macro F1 \| 1\.000 \|", body, re.MULTILINE)
        for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
            columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
            assert len(columns) == 1

    def test_no_html_and_no_link_to_code(self, markdown):
        body = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
        outside = re.sub(r"(?<!\\)`[^`\n]*`", "", body)
        assert not re.search(r"(?<!\\)<", outside)
        assert "https://a.org/x%29%3Cscript%3E%7C%60" in body

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("CD4+ T cell", "CD4+ T cell"),
            ("x_y [2, 3] & z", "x_y [2, 3] & z"),
            ("# x", r"\# x"),
            ("1. x", r"1\. x"),
            ("---", r"\---"),
            ("a\\|b", r"a\\\|b"),
            ("&lt;b", r"\&lt;b"),
            ("_x_", r"\_x\_"),
        ],
    )
    def test_only_syntax_is_escaped(self, text, shown):
        assert _plain(text) == shown

    def test_code_for_training_has_no_code_of_strangers(self, path):
        spec = card_of(path).spec
        settings = spec.training["settings"]
        assert training_code(spec)
        for change in (
            {"model_class": "SCTAB()\nimport os\nos.system('x')#"},
            {"architecture": {"x=1)\nimport os#": 1}},
            {"training": dict(spec.training) | {"settings": settings | {"x=1)\nimport os#": 1}}},
        ):
            assert training_code(replace(spec, **change)) == ""


def stored_card(path, **changes):
    """Write scores with other values into `card.json`, as somebody does who knows how it is hashed."""
    values = strict_json.without_digest(json.loads((path / "card.json").read_text()))
    values["tests"][0] |= changes
    strict_json.write(path / "card.json", strict_json.with_digest(values))


@pytest.mark.parametrize(
    "changes",
    [
        {"brier_score": "0.1"},
        {"accuracy": True},
        {"macro_f1": 1.5},
        {"macro_f1_of_units": ["x"]},
        {"unit": "planet"},
        {"n_units": "4"},
        {"n_cells": 10**30},
        {"name": 5},
        {"flagged_unseen": "all"},
        {"labels": [{"label": "a", "n_cells": 1, "recall": "x", "precision": None}]},
        {"promises": [{"accepted_error": 0.1, "error": None, "at_label": 0, "answered": 0}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_stored_scores_of_another_type_are_refused(path, changes):
    add_scores(path, make_reference(60, seed=7), "cell_type", name="other study")
    assert card_of(path).tests
    stored_card(path, **changes)
    with pytest.raises(ModelFormatError, match=r"`.*card\.json` cannot be trusted: .*Delete it"):
        card_of(path)


def test_scores_that_are_added_at_the_same_time_are_all_kept(path, monkeypatch):
    """Scoring takes long: what another process has added in the meantime stays."""
    score = _card.score_cells_of

    def slowly(*args, **options):
        monkeypatch.setattr(_card, "score_cells_of", score)
        add_scores(path, make_reference(60, seed=8), "cell_type", name="in between")
        return score(*args, **options)

    monkeypatch.setattr(_card, "score_cells_of", slowly)
    add_scores(path, make_reference(60, seed=7), "cell_type", name="first")
    assert [test.name for test in card_of(path).tests] == ["in between", "first"]
    assert names_in(path) == sorted({"MODEL_CARD.md", "card.json", "model.json", "model.safetensors", "reference.safetensors"})
