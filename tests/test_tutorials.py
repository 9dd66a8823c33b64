"""Pages of the documentation run, and print what they show. Notebooks are executed when the documentation is built."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from sctab import SctabError
from sctab.cli import app

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
PAGES = [
    ROOT / "docs" / name
    for name in (
        "index.md",
        "quickstart.md",
        "defaults.md",
        "evaluating.md",
        "explaining.md",
        "logging.md",
        "training.md",
        "tuning.md",
    )
]
REFUSALS = sorted((ROOT / "docs/refusals").glob("*.md"))
FENCE = re.compile(r"^```(python|text|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to run in, without a window and with little torch parallelism."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]

    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize("path", [*PAGES, *REFUSALS], ids=lambda path: path.stem)
@pytest.mark.usefixtures("workplace")
def test_page_shows_what_happens(path: Path) -> None:
    """Run a page from top to bottom: an error that follows a block must come from it, in these words, and no other may come."""
    namespace: dict[str, Any] = {}
    for kind, code, expected in _steps(path.read_text(encoding="utf-8")):
        said = _run_python(code, namespace) if kind == "python" else _run_command(code)
        assert _matches(said, expected), f"{code}\nshows\n{expected or 'no error'}\nand says\n{said or 'no error'}"


def _steps(text: str) -> Iterator[tuple[str, str, str]]:
    """Kind of each block, what it runs, and the error that the page shows for it."""
    blocks = [(match[1], match[2]) for match in FENCE.finditer(text)]
    for (kind, block), (next_kind, next_block) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            yield kind, block, next_block if next_kind == "text" else ""
        elif kind == "console":
            command, _, error = block.partition("\n")
            yield kind, command.removeprefix("$ "), error


def _run_python(code: str, namespace: dict[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, "page", "exec"), namespace)
        except SctabError as error:
            return f"sctab.{type(error).__name__}: {error}"
    return ""


def _run_command(command: str) -> str:
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    return result.output if result.exit_code else ""


def _matches(said: str, expected: str) -> bool:
    """Whether both are the same up to line breaks, where `…` represents anything."""
    said, expected = " ".join(said.split()), " ".join(expected.split())
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), said) is not None
