"""Importing works where neither the home directory nor the installed code can be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sctab
from sctab import _caches

PROGRAM = """
import os
import sctab
from scanpy.datasets import pbmc68k_reduced
cells = pbmc68k_reduced()
sctab.tl.annotate(cells, "pbmc")
print(cells.obs["sctab_label"].notna().all(), os.environ["NUMBA_CACHE_DIR"])
"""


@pytest.fixture
def nothing_writable(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)


def test_a_home_that_can_be_written_is_left_alone(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path / "new" / "cache"), "XDG_CONFIG_HOME": str(tmp_path)}
    before = dict(environment)
    assert _caches.provide(environment) is None
    assert environment == before


@pytest.mark.usefixtures("nothing_writable")
def test_without_a_place_to_write_to_there_is_a_private_one():
    environment = {}
    directory = _caches.provide(environment)
    assert environment == {"NUMBA_CACHE_DIR": directory, "MPLCONFIGDIR": directory}
    assert Path(directory).stat().st_mode & 0o077 == 0
    Path(directory).rmdir()


@pytest.mark.usefixtures("nothing_writable")
def test_what_is_set_is_left_alone():
    environment = {"NUMBA_CACHE_DIR": "mine", "MPLCONFIGDIR": "mine too"}
    assert _caches.provide(environment) is None
    assert environment == {"NUMBA_CACHE_DIR": "mine", "MPLCONFIGDIR": "mine too"}


@pytest.mark.usefixtures("nothing_writable")
def test_nothing_is_set_where_nothing_can_be_made(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    environment = {}
    assert _caches.provide(environment) is None
    assert environment == {}


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are made read-only with the tools of Linux")
def test_a_read_only_installation_with_a_read_only_home(tmp_path):
    """In a process that sees them as mounts that cannot be written."""
    places = [Path(sys.prefix), Path(sctab.__file__).parent, Path.home()]
    if any(tmp_path.is_relative_to(place) for place in places):
        pytest.skip("the directory for temporary files lies in one that is made read-only")
    mounts = "".join(f"mount --bind '{place}' '{place}' && mount -o remount,ro,bind '{place}' && " for place in places)
    begin = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c", mounts + 'exec "$@"', "-"]
    if subprocess.run([*begin, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mounts cannot be made here")
    environment = {name: value for name, value in os.environ.items() if name not in {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"}}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONWARNINGS": "error::UserWarning:matplotlib"}
    result = subprocess.run([*begin, sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"True {tmp_path}/sctab-caches-")
    assert "cache directory" not in result.stderr
    assert not list(tmp_path.iterdir())
