"""The page of models says of each what its files say."""

import runpy
from pathlib import Path

import pytest

import sctab

WRITE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "write_models.py"))


@pytest.mark.parametrize("model", sctab.zoo.list_models(), ids=lambda model: model.name)
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
