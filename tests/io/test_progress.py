"""Progress over cells, in lines where there is no terminal."""

import pytest

from sctab.io import ProgressReport, _progress, progress_title, progress_titled


@pytest.fixture
def clock(monkeypatch):
    times = iter(range(0, 1000, 60))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(times)))


@pytest.mark.usefixtures("clock")
def test_a_line_says_how_many_how_fast_and_how_long(capsys):
    with ProgressReport(4000, done=1000) as progress:
        progress.advance(1500)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "Annotating: 2,500 of 4,000 cells, 12 cells/s, 2.0 min left"


def test_what_is_quick_says_nothing(capsys):
    with ProgressReport(10) as progress:
        progress.advance(10)
    assert capsys.readouterr().err == ""


def test_quick_ones_after_each_other_speak_every_half_minute(capsys, monkeypatch):
    now = [5000.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    for number in range(1, 6):
        with ProgressReport(2, f"Part {number}", unit="steps") as progress:
            for _ in range(2):
                now[0] += 8
                progress.advance()
    shown = capsys.readouterr().err.splitlines()
    assert shown == [
        "Part 2: 2 of 2 steps, 8 s each",
        "Part 4: 2 of 2 steps, 8 s each",
    ]


@pytest.mark.usefixtures("clock")
def test_what_is_slow_has_digits_and_a_remark(capsys):
    with ProgressReport(12, "Comparing", unit="trainings") as progress:
        progress.remark("train_loss=0.500")
        progress.advance(3)  # after 60 s
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("Comparing: 3 of 12 trainings, 40 s each, 6.0 min left, train_loss=0.500")


def test_a_terminal_has_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressReport(3, "Tuning", unit="trials", done=1) as progress:
        progress.advance()
        progress.remark("the last one")
    shown = capsys.readouterr().err
    assert "2 of 3 trials" in shown
    assert "the last one" in shown


def test_a_long_remark_does_not_cut_the_title(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with ProgressReport(200, "Training, with validation", unit="steps") as progress:
        progress.advance(100)
        progress.remark("validation_macro_f1=0.681, train_loss=0.291 (validated on learned donors)")
    shown = capsys.readouterr().err
    assert "Training, with validation" in shown
    assert "100 of 200 steps" in shown
    assert "validation_" in shown
    assert "learned" not in shown


@pytest.mark.usefixtures("clock")
def test_it_can_be_silenced(capsys):
    with ProgressReport(10, shown=False) as progress:
        progress.advance(10)
    assert capsys.readouterr().err == ""


def test_titles_stand_behind_those_around_them():
    assert progress_title("training") == "Training"
    with progress_titled("member 1 of 2"), progress_titled("with validation", after="training"):
        assert progress_title("boosting") == "Member 1 of 2, with validation"
    with progress_titled("on all cells", after="training"):
        assert progress_title("boosting") == "Training, on all cells"
    assert progress_title("training") == "Training"
