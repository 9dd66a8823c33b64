"""Colours of types, and strings as they are drawn."""

import pytest
from matplotlib.colors import to_rgb

from sctab.pl._colours import colours_of, plain


@pytest.mark.parametrize("n", [1, 3, 8, 9, 20, 25, 60, 150])
def test_colours_differ_and_do_not_depend_on_order(n):
    names = [f"type {number}" for number in range(n)]
    found = colours_of(names)
    assert colours_of(reversed(names)) == found
    assert len(set(found.values())) == min(n, 102)
    assert all(len(colour) == 7 and colour.startswith("#") for colour in found.values())


def test_few_colours_differ_for_all_eyes():
    """Differences in lightness or along the blue-yellow axis remain where red and green are one."""
    shades = [to_rgb(colour) for colour in colours_of("abcdefgh").values()]
    seen = [((red + green) / 2, blue) for red, green, blue in shades]
    distances = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for n, a in enumerate(seen) for b in seen[:n]]
    assert min(distances) > 0.05


def test_given_colours_are_kept_and_not_used_twice():
    found = colours_of(["a", "b", "c"], {"b": "#0072B2", "c": "not a colour", "other": "red"})
    assert found["b"] == "#0072b2"
    assert len(set(found.values())) == 3
    assert colours_of(["a"], {"a": "red"}) == {"a": "#ff0000"}


def test_strings():
    assert plain("$x$ a\nb\x00") == r"\$x\$ a b "
    long = plain("naive thymus-derived CD4-positive, alpha-beta T cell of an unusually long name", longest=40)
    assert len(long) <= 40
    assert long.startswith("naive thymus")
    assert long.endswith("long name")
