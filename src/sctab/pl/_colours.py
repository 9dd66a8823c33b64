"""Colours of types, and strings of the data that are drawn as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matplotlib.colors import is_color_like, to_hex
from scanpy.plotting import palettes

NO_TYPE = "#9a9a9a"
"""Colour of cells without a label."""
OTHER = "#c8c8c8"
_FEW = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8A6F00", "#6A51A3")
"""After Okabe and Ito, with an ochre and a violet: they differ for colour-blind readers, and are seen on light and on dark paper."""
_LONGEST = 56
"""Letters of a name in a figure."""


def colours_of(names: Iterable[str], palette: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each name, as `#rrggbb`.

    Parameters
    ----------
    names
        Types. Those without a colour get one by their alphabetical order, so that figures of the same types have the same colours.
    palette
        Colours that some of them have. Anything else than a colour is ignored.
    """
    names = sorted(set(map(str, names)))
    given = {name: to_hex(colour) for name, colour in (palette or {}).items() if is_color_like(colour)}
    missing = [name for name in names if name not in given]
    free = [colour for colour in _series(len(names)) if colour not in given.values()] or [NO_TYPE]
    chosen = {name: free[number % len(free)] for number, name in enumerate(missing)}
    return {name: given.get(name) or chosen[name] for name in names}


def _series(n: int) -> list[str]:
    if n <= len(_FEW):
        return [colour.lower() for colour in _FEW]
    found = palettes.default_20 if n <= 20 else palettes.default_28 if n <= 28 else palettes.default_102
    return [to_hex(colour) for colour in found]


def plain(text: object, *, longest: int = _LONGEST) -> str:
    r"""A string of the data as a figure writes it: in one line, not too long, and without formulas between dollars.

    Examples
    --------
    >>> plain("a $b$ cell")
    'a \\$b\\$ cell'
    """
    line = "".join(letter if letter.isprintable() else " " for letter in str(text))
    if len(line) > longest:  # kinds of T cells differ at both ends of their names
        n_last = longest // 3
        line = f"{line[: longest - n_last - 1].rstrip()}…{line[-n_last:].lstrip()}"
    return line.replace("$", r"\$")
