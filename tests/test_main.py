"""`python -m sctab` is the command `sctab`."""

import subprocess
import sys

import sctab


def test_it_is_the_command():
    done = subprocess.run([sys.executable, "-m", "sctab", "--version"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, f"sctab {sctab.__version__}")


def test_it_says_how_it_is_called():
    done = subprocess.run([sys.executable, "-m", "sctab", "models", "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "python -m sctab models" in done.stdout


def test_an_import_runs_nothing():
    done = subprocess.run([sys.executable, "-c", "import sctab.__main__"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
