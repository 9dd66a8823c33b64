"""The picture of the rooms is drawn from the code as it is."""

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.test_architecture import LAYERS, Tree

ROOT = Path(__file__).parents[1]
DRAWING = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
SVG = "{http://www.w3.org/2000/svg}"


def arrows(svg):
    return {title.text for circle in ET.fromstring(svg).iter(f"{SVG}circle") for title in circle}


def test_it_is_that_of_the_code():
    drawn = DRAWING["picture"](Tree(ROOT / "src" / "sctab", ROOT / "tests"), LAYERS)
    stored = DRAWING["PICTURE"].read_text(encoding="utf-8")
    assert stored == drawn, "Run `uv run python docs/draw_architecture.py`."


def test_a_new_import_changes_it(tmp_path):
    for name, text in {"io/__init__.py": "", "data/__init__.py": "", "errors.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert arrows(DRAWING["picture"](Tree(tmp_path), LAYERS)) == set()
    (tmp_path / "data/_rows.py").write_text("from sctab.io import integrity\n")
    (tmp_path / "io/_rows.py").write_text("import sctab.errors\n")
    assert arrows(DRAWING["picture"](Tree(tmp_path), LAYERS)) == {"data imports io", "io imports errors"}
