"""Pages that are written when the documentation is built: models, and what the benchmarks answer."""

import re
import runpy
from pathlib import Path

import pytest

import sctab

DOCS = Path(__file__).parents[1] / "docs"
WRITE = runpy.run_path(str(DOCS / "write_models.py"))
ANSWER = runpy.run_path(str(DOCS / "write_answers.py"))
BENCHMARKS = (DOCS / "benchmarks.md").read_text(encoding="utf-8")


PACKAGED = [model for model in sctab.zoo.list_models(offline=True) if model.state == "packaged"]  # whatever else is in the cache


@pytest.mark.parametrize("model", PACKAGED, ids=lambda model: model.name)
def test_numbers_are_those_of_the_model(model):
    page = WRITE["page"]()
    spec = sctab.inference.load_predictor(model.path).spec
    row = next(line for line in page.splitlines() if line.startswith(f"| [`{model.name}`]"))
    numbers = [cell.strip().replace(",", "") for cell in row.split("|")[2:5]]
    assert numbers == [str(len(spec.labels)), str(len(spec.features)), str(spec.training["n_labeled"])]
    assert f"(model-{model.name})=" in page
    for label in spec.labels.names:
        assert f"| {label} |" in page


def test_the_page_is_written(tmp_path):
    WRITE["main"](tmp_path)
    assert (tmp_path / "models.md").read_text(encoding="utf-8") == WRITE["page"]()
    assert "\n# " not in WRITE["page"]()[2:]


def test_answers_are_those_of_the_tables():
    page = ANSWER["page"](BENCHMARKS)
    shown, of_page = ANSWER["tables"](page), ANSWER["tables"](BENCHMARKS)
    f1, seconds = of_page["Macro F1"][0], of_page["Seconds and memory"][0]
    assert [row[0] for row in shown["How good?"][0]] == [row[0] for row in f1]
    for row, source in zip(shown["How good?"][0][1:], f1[1:], strict=True):
        assert row[1:4] == [re.sub(r"\*", "", cell).split()[0] for cell in source[1:]]
    for row, source in zip(shown["How fast?"][0][1:], seconds[1:], strict=True):
        assert row[0] == source[0]
        assert float(row[1].split(" to ")[1]) == pytest.approx(max(map(float, source[1:])), abs=0.5)
    assert shown["How fast?"][1][-1][0] == "1,000,000"


def test_answers_follow_the_tables():
    changed = BENCHMARKS.replace("| auto | **0.840 ± 0.003** |", "| auto | 0.640 ± 0.003 |", 1)
    assert changed != BENCHMARKS
    assert "It was at most 0.200 behind" in " ".join(ANSWER["page"](changed).split())


def test_answers_are_written(tmp_path):
    ANSWER["main"](tmp_path)
    assert (tmp_path / "answers.md").read_text(encoding="utf-8") == ANSWER["page"](BENCHMARKS)
