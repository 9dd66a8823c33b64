"""`sctab tune` as typed in a shell."""

import json
import re

import matplotlib.pyplot as plt
import pytest
from tests.reference import LABEL_MAPS, make_reference, with_labels_of_authors
from typer.testing import CliRunner

from sctab.cli import app
from sctab.model import LinearClassifier
from sctab.tuning import Settings


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.h5ad"
    make_reference(120).write_h5ad(path)
    return path


def run(reference, *arguments):
    fixed = ("tune", reference, "--labels-key", "cell_type", "--model", "linear", "--max-epochs", 2, "--accelerator", "cpu")
    result = CliRunner().invoke(app, [str(argument) for argument in (*fixed, *arguments)])
    plt.close("all")
    return result


def test_writes_settings_study_and_pictures(reference, tmp_path):
    output, figures = tmp_path / "settings.json", tmp_path / "figures"
    arguments = ("--donor-key", "donor_id", "--output", output, "--figures", figures)
    result = run(reference, *arguments, "--n-trials", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split() == ["default", "trial", "1"]
    said = " ".join(result.stdout.split())
    assert f" gene_dropout {LinearClassifier._default_training(90).gene_dropout:.3g} " in said
    assert "2 trials, 0 of them ended early." in said
    assert "whole donors held out" in said
    assert f"The study is in `{tmp_path / 'settings.study.db'}`" in result.stderr.replace("\n", "")
    settings = Settings.read(output)
    assert settings.model == "linear"
    assert settings.train_settings["max_epochs"] == 2
    assert [path.name for path in figures.iterdir()] == ["history.png"]
    assert (figures / "history.png").read_bytes().startswith(b"\x89PNG")
    said = " ".join(result.stderr.split())
    assert "importance.png` was not drawn. The importance of " in said
    assert re.search(r"settings needs at least \d+ complete trials, and there (is 1|are 2)\. Increase", said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "settings.json", "settings.study.db"]

    refused = run(reference, *arguments, "--n-trials", 3)
    assert refused.exit_code == 2
    assert "already exists" in refused.stderr
    done = run(reference, *arguments, "--n-trials", 2, "--resume")
    assert done.exit_code == 0, done.output
    assert " ".join(done.stdout.split()) == f"`{output}` is finished, by the same study: there is nothing to do."
    (figures / "history.png").unlink()
    drawn = run(reference, *arguments, "--n-trials", 2, "--resume")
    assert drawn.exit_code == 0, drawn.output
    assert " ".join(drawn.stdout.split()) == f"`{output}` is finished, by the same study. Wrote `{figures / 'history.png'}`."
    assert (figures / "history.png").read_bytes().startswith(b"\x89PNG")
    more = run(reference, *arguments, "--n-trials", 3, "--resume")
    assert more.exit_code == 2
    assert "is not that of this study with all its trials" in " ".join(more.stderr.split())
    assert "`--overwrite`" in more.stderr
    assert Settings.read(output) == settings
    longer = run(reference, *arguments, "--n-trials", 3, "--overwrite")
    assert longer.exit_code == 0, longer.output
    assert "3 trials" in longer.stdout


def test_refuses_a_study_of_something_else(reference, tmp_path):
    common = ("--donor-key", "donor_id", "--storage", tmp_path / "s.db", "--n-trials", 1)
    assert run(reference, *common, "--output", tmp_path / "a.json").exit_code == 0
    result = run(reference, *common, "--output", tmp_path / "b.json", "--seed", 1)
    assert result.exit_code == 2
    assert "`seed` was 0 and is 1" in " ".join(result.stderr.split())
    assert not (tmp_path / "b.json").exists()


def test_a_label_map_decides_what_is_right(tmp_path):
    """Either form is the same study, and no map is another one."""
    path = tmp_path / "reference.h5ad"
    with_labels_of_authors(make_reference(120)).write_h5ad(path)
    common = ("--donor-key", "donor_id", "--storage", tmp_path / "s.db", "--n-trials", 1, "--overwrite")
    for form, text in LABEL_MAPS.items():
        (tmp_path / "labels.tsv").write_text(text)
        result = run(path, *common, "--output", tmp_path / "a.json", "--label-map", tmp_path / "labels.tsv")
        assert result.exit_code == 0, form + result.output
        assert "DC2" not in result.stderr
    other = run(path, *common, "--output", tmp_path / "a.json")
    assert other.exit_code == 2
    assert "`label_ids` was {'DC2': 'CL:0002399', 'cluster 7': None} and is None" in " ".join(other.stderr.split())


def test_without_donors_says_so(reference, tmp_path):
    result = run(reference, "--output", tmp_path / "settings.json", "--n-trials", 1)
    assert result.exit_code == 0, result.output
    assert "Note: Settings are judged by cells of the donors that they were learned from" in result.stderr
    assert "a fraction of each type held out" in " ".join(result.stdout.split())
    assert json.loads((tmp_path / "settings.json").read_text())["train_settings"] == {"max_epochs": 2}


def test_of_one_donor(tmp_path):
    make_reference(120, n_donors=1).write_h5ad(tmp_path / "one.h5ad")
    result = run(tmp_path / "one.h5ad", "--donor-key", "donor_id", "--output", tmp_path / "settings.json", "--n-trials", 3)
    assert result.exit_code == 0, result.output
    assert "gene_dropout" in result.stdout
    assert "augment" not in result.stdout


def test_help_has_an_example():
    result = CliRunner().invoke(app, ["tune", "--help"])
    assert result.exit_code == 0
    assert "Example" in result.stdout
