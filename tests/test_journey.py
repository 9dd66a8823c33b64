"""The way of a query through the house: from `tl.annotate` down to bytes, and never up."""

import sys
import threading
import warnings

import pytest

import sctab
from tests.reference import make_reference
from tests.test_architecture import LAYERS

PACKAGES = {"tl", "zoo", "data", "inference", "nn", "ontology", "io"}
"""Rooms that a query passes, besides errors and keys."""


def room_of(frame):
    """The room of the code of a frame; `None` for that of other packages."""
    first, *rest = frame.f_globals.get("__name__", "").split(".")
    return rest[0] if first == "sctab" and rest and rest[0] in LAYERS else None


@pytest.fixture
def journey():
    """Rooms that are entered while a function runs, and calls from one room into a higher one."""
    entered, climbs = set(), set()

    def watch(frame, event, _):
        if event != "call" or (room := room_of(frame)) is None:
            return
        entered.add(room)
        caller = frame.f_back
        while caller is not None and room_of(caller) is None:
            caller = caller.f_back
        if caller is not None and LAYERS[room] > LAYERS[room_of(caller)]:
            climbs.add(f"{caller.f_globals['__name__']} calls {frame.f_globals['__name__']}.{frame.f_code.co_name}")

    def run(function, *arguments):
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            function(*arguments)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return entered, climbs

    return run


def test_a_query_goes_down(journey, model_path):
    query = make_reference(50, seed=3)
    with warnings.catch_warnings(action="ignore"):
        sctab.tl.annotate(query.copy(), model_path)  # loads the modules
        entered, climbs = journey(sctab.tl.annotate, query, model_path)
    assert entered - {"errors", "keys"} == PACKAGES
    assert climbs == set()


def test_a_climb_is_seen(journey):
    """A function of a lower room that calls one of a higher room."""
    higher = {"__name__": "sctab.tl._made_up"}
    exec("def called():\n    pass", higher)
    lower = {"__name__": "sctab.io._made_up", "called": higher["called"]}
    exec("def calls():\n    called()", lower)
    entered, climbs = journey(lower["calls"])
    assert entered == {"io", "tl"}
    assert climbs == {"sctab.io._made_up calls sctab.tl._made_up.called"}
