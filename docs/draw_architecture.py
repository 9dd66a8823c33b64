"""Draw `docs/_static/architecture.svg`: the rooms of the package from the top floor down, and which imports which.

    uv run python docs/draw_architecture.py

A test compares the picture with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_architecture import LAYERS, Tree, unit  # noqa: E402 (of this repository)

PICTURE = ROOT / "docs" / "_static" / "architecture.svg"
_ROW, _LEFT, _TOP, _CELL = 26, 160, 104, 26
_STYLE = """
.rooms-room { fill: none; stroke: currentColor; stroke-opacity: .35 }
.rooms-floor { stroke: currentColor; stroke-opacity: .12 }
.rooms-name { font: 600 14px sans-serif; fill: currentColor }
.rooms-head { font: 12px sans-serif; fill: currentColor }
.rooms-uses { fill: #3b82c4 }
.rooms-self { fill: currentColor; fill-opacity: .2 }
"""


def picture(tree: Tree, layers: dict[str, int]) -> str:
    """The picture as SVG: a row for each room, and a dot below each room that it imports.

    Rooms of one floor share a box. All dots are to the right of the diagonal, since imports go down.
    """
    found = {unit(name) for name in tree.modules}
    uses = {(unit(name), unit(target)) for name in tree.modules for target in tree.own_imports(name)}
    shown = [room for room in layers if room in found and not room.startswith("_")]
    rooms = sorted(shown, key=lambda room: (-layers[room], room))
    width, height = _LEFT + _CELL * len(rooms) + 70, _TOP + _ROW * len(rooms) + 2
    parts = []
    for at, room in enumerate(rooms):
        y = _TOP + at * _ROW
        if at == 0 or layers[room] != layers[rooms[at - 1]]:
            n_beside = sum(layers[other] == layers[room] for other in rooms)
            parts.append(f'<line class="rooms-floor" x1="0" x2="{width}" y1="{y}" y2="{y}"/>')
            parts.append(f'<rect class="rooms-room" x="4" y="{y + 3}" width="{_LEFT - 16}" height="{n_beside * _ROW - 6}" rx="5"/>')
        called = f"{room}/" if (tree.root / room).is_dir() else f"{room}.py"
        parts.append(f'<text class="rooms-name" x="16" y="{y + 18}">{called}</text>')
        x = _LEFT + at * _CELL + _CELL // 2
        parts.append(f'<text class="rooms-head" transform="translate({x + 4},{_TOP - 8}) rotate(-50)">{called}</text>')
        for column, other in enumerate(rooms):
            middle = f'cx="{_LEFT + column * _CELL + _CELL // 2}" cy="{y + _ROW // 2}"'
            if other == room:
                parts.append(f'<circle class="rooms-self" {middle} r="3"/>')
            elif (room, other) in uses:
                parts.append(f'<circle class="rooms-uses" {middle} r="6"><title>{room} imports {other}</title></circle>')
    title = "Rooms of sctab and which imports which"
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
    return "\n".join([opening, f"<title>{title}</title>", f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(Tree(ROOT / "src" / "sctab", ROOT / "tests"), LAYERS), encoding="utf-8")
