"""What a command says, and where it cannot be said."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import typer

from sctab import DataFileError, OutputError
from sctab.cli import _reporting
from sctab.cli._reporting import Stopped, _Console, ends_on_signals, err, out, prepare_streams, reports_errors
from sctab.errors import SctabWarning

ODD = "[red]x[/red] [/x] :smile: r[1].h5ad α\x1b[2J"


@pytest.fixture
def console():
    made = _Console()
    made.file = io.StringIO()
    return made


def test_names_are_printed_as_they_are(console):
    console.print(f"Wrote `{ODD}`.", soft_wrap=True)
    assert console.file.getvalue() == "Wrote `[red]x[/red] [/x] :smile: r[1].h5ad α\\x1b[2J`.\n"


def test_names_in_tables(console):
    from rich.table import Table

    table = Table("label", box=None)
    table.add_row(ODD)
    console.print(table)
    assert "[red]x[/red] [/x] :smile: r[1].h5ad α\\x1b[2J" in console.file.getvalue()


def test_a_reader_that_is_gone(console):
    """As `| head` is."""
    reading, writing = os.pipe()
    os.close(reading)
    console.file = os.fdopen(writing, "w")
    console.print("Wrote `x`.")
    console.print("and more")
    assert console.quiet
    console.file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk(console):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        console.file = full
        with pytest.raises(OutputError, match="The output could not be printed: No space left on device"):
            console.print("Wrote `x`.")
    notes = _Console(stderr=True)
    with open("/dev/full", "w") as full:  # noqa: PTH123
        notes.file = full
        notes.print("a note")  # is no reason to stop


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_terminals_that_know_few_characters(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    prepare_streams()
    _Console().print("700 × α `é\udcff`")
    sys.stdout.flush()
    shown = written.getvalue().decode(encoding)
    assert shown.startswith("700 ")
    assert shown.rstrip().endswith("\\udcff`")


class TestCommands:
    @pytest.fixture
    def shown(self, monkeypatch):
        written = io.StringIO()
        for console in (out, err):
            monkeypatch.setattr(console, "_file", written)  # setting `file` back would keep the stream of this test
        return written

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (
                DataFileError(f"`{ODD}` not found."),
                2,
                "Error: `[red]x[/red] [/x] :smile: r[1].h5ad α\\x1b[2J` not found.",
            ),
            (FileNotFoundError(2, "No such file", "x"), 2, "Error: FileNotFoundError: [Errno 2] No such file: 'x'."),
            (KeyboardInterrupt(), 130, "Interrupted. No output was written. What is in a run directory is kept."),
            (Stopped(signal.SIGTERM), 143, "Stopped. No output was written. What is in a run directory is kept."),
        ],
    )
    def test_errors(self, shown, error, code, message):
        @reports_errors
        def command(debug=False):
            raise error

        with pytest.raises(typer.Exit) as ended:
            command()
        assert ended.value.exit_code == code
        assert shown.getvalue() == f"{message}\n"

    def test_debug(self):
        @reports_errors
        def command(debug):
            raise FileNotFoundError

        with pytest.raises(FileNotFoundError):
            command(debug=True)

    def test_notes(self, shown):
        @reports_errors
        def command():
            warnings.warn(f"of {ODD}", SctabWarning, stacklevel=1)

        command()
        assert shown.getvalue() == "Note: of [red]x[/red] [/x] :smile: r[1].h5ad α\\x1b[2J\n"

    def test_the_home_directory(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        found = {}

        @reports_errors
        def command(**options):
            found.update(options)

        command(output=Path("~/a"), several=[Path("~/b"), Path("c~")], text="~/d", none=None, number=3)
        assert found == {
            "output": tmp_path / "a",
            "several": [tmp_path / "b", Path("c~")],
            "text": "~/d",
            "none": None,
            "number": 3,
        }

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_told_to_end(self, shown, number):
        steps = []

        @reports_errors
        @ends_on_signals
        def command():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                steps.append("tidied up")

        before = signal.signal(number, signal.SIG_DFL)  # which `nohup` ignores
        try:
            with pytest.raises(typer.Exit) as ended:
                command()
            assert signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)
        assert (ended.value.exit_code, steps) == (128 + number, ["tidied up"])
        assert shown.getvalue().startswith("Stopped. No output was written.")

    def test_a_signal_that_is_ignored_stays_ignored(self):
        """As `nohup` asks for."""

        @ends_on_signals
        def command():
            os.kill(os.getpid(), signal.SIGHUP)

        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            command()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        ("> /dev/full", 2, "Error: The output could not be printed: No space left on device."),
        ("| head -c 0", 0, ""),
    ],
)
def test_the_whole_command(redirection, code, message):
    command = f"set -o pipefail; '{sys.executable}' -c 'from sctab.cli import main; main()' models {redirection}"
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"}
    )
    assert (ended.returncode, ended.stderr.strip()) == (code, message)
    assert _reporting.EXIT_REFUSED == 2
