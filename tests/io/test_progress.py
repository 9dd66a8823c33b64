"""Progress over cells, in lines where there is no terminal."""

import pytest

from sctab.io import CellProgress, _progress, progress_title, progress_titled


@pytest.fixture
def clock(monkeypatch):
    times = iter(range(0, 1000, 60))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(times)))


@pytest.mark.usefixtures("clock")
def test_a_line_says_how_many_how_fast_and_how_long(capsys):
    with CellProgress(4000, done=1000) as progress:
        progress.advance(1500)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "Annotating: 2,500 of 4,000 cells, 12 cells/s, 2.0 min left"


def test_what_is_quick_says_nothing(capsys):
    with CellProgress(10) as progress:
        progress.advance(10)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("clock")
def test_it_can_be_silenced(capsys):
    with CellProgress(10, shown=False) as progress:
        progress.advance(10)
    assert capsys.readouterr().err == ""


def test_titles_stand_behind_those_around_them():
    assert progress_title("training") == "Training"
    with progress_titled("member 1 of 2"), progress_titled("fit"):
        assert progress_title("training") == "Member 1 of 2, fit"
    assert progress_title("training") == "Training"
