"""Files and directories are there whole, or as they were before."""

import errno
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.outputs import WRITERS, contents, names_in, write_file, write_model, write_store

from sctab import DataFileError, ModelNotFoundError, OutputError, OutputExistsError
from sctab.io._atomic import temporary_directory, written_beside

UNCHANGED = r"\. What was there before is unchanged\.$"


@pytest.fixture(params=["nothing", "file", "model", "store"])
def before(request, tmp_path):
    """A target at which there is nothing, or what may be replaced."""
    target = tmp_path / "target"
    if request.param != "nothing":
        {
            "file": lambda path: path.write_text("old"),
            "model": partial(write_model, text="old"),
            "store": partial(write_store, value=0),
        }[request.param](target)
    return target


@pytest.fixture
def kind(before):
    return "file" if not before.is_dir() else "model" if (before / "model.json").exists() else "store"


@pytest.fixture
def small_files_only():
    """Let this process write no file of more than 64 KiB, as a quota or a small disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSuccess:
    def test_what_was_written_takes_the_place_of_what_was_there(self, before, kind, tmp_path):
        WRITERS[kind](tmp_path / "same")
        with written_beside(before, overwrite=True, kind=kind) as path:
            WRITERS[kind](path)
        assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["same", "target"]
        if kind == "file":
            assert before.read_bytes() == (tmp_path / "same").read_bytes()
        else:
            assert contents(before) == contents(tmp_path / "same")

    def test_nothing_is_at_the_target_until_the_end(self, tmp_path):
        target = tmp_path / "labels.csv"
        with written_beside(target) as path:
            write_file(path)
            assert not target.exists()
        assert target.read_text() == "new"

    def test_the_old_file_is_there_until_the_end(self, tmp_path):
        target = tmp_path / "labels.csv"
        target.write_text("old")
        with written_beside(target, overwrite=True) as path:
            write_file(path)
            assert target.read_text() == "old"

    def test_the_path_has_the_name_of_the_target_and_its_file_system(self, tmp_path):
        with written_beside(tmp_path / "cells.h5ad") as path:
            assert path.name == "cells.h5ad"
            assert path.parent.parent == tmp_path
            write_file(path)

    def test_parents_are_made(self, tmp_path):
        with written_beside(tmp_path / "a" / "b" / "c.txt") as path:
            write_file(path)
        assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"

    def test_a_relative_target(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with written_beside("plain.txt") as path:
            write_file(path)
        assert contents(tmp_path) == {"plain.txt": b"new"}

    @pytest.mark.parametrize("write", [write_file, write_model])
    def test_others_may_read_it_as_any_other_file(self, tmp_path, write):
        """The temporary directory is private; what is moved out of it must not be."""
        target, usual = tmp_path / "ours", tmp_path / "usual"
        with written_beside(target) as path:
            write(path)
        write(usual)
        assert target.stat().st_mode == usual.stat().st_mode

    def test_a_long_name(self, tmp_path):
        target = tmp_path / ("n" * 250)
        with written_beside(target) as path:
            write_file(path)
        assert target.read_text() == "new"


class TestFailure:
    @pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
    def test_an_error_leaves_everything_as_it_was(self, before, kind, tmp_path, error):
        expected = contents(tmp_path)

        def fail_halfway():
            with written_beside(before, overwrite=True, kind=kind) as path:
                WRITERS[kind](path)
                raise error

        with pytest.raises(type(error)) as caught:
            fail_halfway()
        assert caught.value is error
        assert contents(tmp_path) == expected

    @pytest.mark.parametrize("error", [DataFileError("`in.h5ad` not found."), ModelNotFoundError("There is no model `x`.")])
    def test_an_error_about_something_else_stays_what_it_is(self, tmp_path, error):
        """Both are `OSError`s too, and neither is about the output."""

        def fail():
            with written_beside(tmp_path / "out.h5ad"):
                raise error

        with pytest.raises(type(error)) as caught:
            fail()
        assert caught.value is error

    def test_what_is_there_is_not_replaced_unasked(self, tmp_path):
        target = tmp_path / "labels.csv"
        target.write_text("old")
        with (
            pytest.raises(OutputExistsError, match=r"labels\.csv` already exists\. Choose another name, or replace it"),
            written_beside(target),
        ):
            pytest.fail("the block must not start")
        assert contents(tmp_path) == {"labels.csv": b"old"}

    def test_what_appears_meanwhile_is_not_replaced_either(self, tmp_path):
        target = tmp_path / "labels.csv"

        def write_late():
            with written_beside(target) as path:
                write_file(path)
                target.write_text("of another process")

        with pytest.raises(OutputExistsError, match="already exists"):
            write_late()
        assert contents(tmp_path) == {"labels.csv": b"of another process"}

    @pytest.mark.usefixtures("small_files_only")
    def test_a_file_too_large(self, before, kind, tmp_path):
        expected = contents(tmp_path)

        def write_much():
            with written_beside(before, overwrite=True, kind=kind) as path:
                path.write_bytes(bytes(1 << 20))

        with pytest.raises(OutputError, match=r"target` could not be written: .*File too large.*" + UNCHANGED):
            write_much()
        assert contents(tmp_path) == expected

    @pytest.mark.usefixtures("small_files_only")
    def test_a_file_too_large_in_the_middle_of_a_directory(self, before, kind, tmp_path):
        expected = contents(tmp_path)

        def write_much():
            with written_beside(before, overwrite=True, kind=kind) as path:
                path.mkdir()
                (path / "small").write_bytes(bytes(100))
                (path / "large").write_bytes(bytes(1 << 20))

        with pytest.raises(OutputError, match=UNCHANGED):
            write_much()
        assert contents(tmp_path) == expected

    @pytest.mark.usefixtures("small_files_only")
    def test_an_hdf5_file_too_large(self, tmp_path):
        def write_much():
            with written_beside(tmp_path / "cells.h5ad") as path, h5py.File(path, "w") as file:
                file["X"] = np.random.default_rng(0).random(1 << 17)

        with pytest.raises(OutputError, match=r"cells\.h5ad` could not be written: \[Errno 27\] File too large" + UNCHANGED):
            write_much()
        assert contents(tmp_path) == {}

    @pytest.mark.parametrize("error", [OSError, RuntimeError])
    def test_a_full_disk_in_the_words_of_hdf5(self, tmp_path, error):
        def close():
            with written_beside(tmp_path / "cells.h5ad"):
                raise error(
                    "flush failed (file write failed: time = Fri\n, filename = 'a', errno = 28, error message = 'No space', buf = 0)"
                )

        with pytest.raises(
            OutputError, match=r"cells\.h5ad` could not be written: the disk is full\. Free some space" + ".*" + UNCHANGED
        ):
            close()
        assert contents(tmp_path) == {}

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
    def test_a_full_disk(self, before, kind, tmp_path):
        expected = contents(tmp_path)

        def write_to_full_disk():
            with written_beside(before, overwrite=True, kind=kind) as path:
                path.symlink_to("/dev/full")
                path.write_text("new")

        with pytest.raises(
            OutputError, match=r"target` could not be written: the disk is full\. Free some space" + ".*" + UNCHANGED
        ):
            write_to_full_disk()
        assert contents(tmp_path) == expected

    @pytest.mark.parametrize("below", ["cells.h5ad", "deeper/cells.h5ad"])
    def test_a_parent_that_is_a_file(self, tmp_path, below):
        (tmp_path / "parent").write_text("old")
        refused = pytest.raises(OutputError, match="a part of its path is a file and not a directory. Choose another place")
        with refused, written_beside(tmp_path / "parent" / below):
            pytest.fail("the block must not start")
        assert contents(tmp_path) == {"parent": b"old"}

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_without_permission(self, tmp_path):
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(OutputError, match="there is no permission to write there"), written_beside(locked / "cells.h5ad"):
            pytest.fail("the block must not start")

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system in which nobody can write")
    def test_where_nobody_can_write(self):
        with pytest.raises(OutputError, match=r"`/proc/cells\.h5ad` could not be written: "), written_beside("/proc/cells.h5ad"):
            pytest.fail("the block must not start")

    def test_a_name_that_no_file_can_have(self, tmp_path):
        with pytest.raises(OutputError, match="could not be written: .*File name too long"), written_beside(tmp_path / ("n" * 300)):
            pytest.fail("the block must not start")

    def test_a_block_that_writes_nothing(self, before, kind, tmp_path):
        expected = contents(tmp_path)
        with pytest.raises(OutputError, match=r"target` could not be written"), written_beside(before, overwrite=True, kind=kind):
            pass
        assert contents(tmp_path) == expected

    def test_a_name_with_a_null_byte(self, tmp_path):
        with pytest.raises(OutputError, match="could not be written: .*null"), written_beside(tmp_path / "a\0b"):
            pytest.fail("the block must not start")


WRITE_AND_WAIT = """
import sys, time, types
sys.modules["sctab"] = types.ModuleType("sctab")  # all of it would take seconds to import
sys.modules["sctab"].__path__ = [sys.argv[3]]
from sctab.io._atomic import written_beside
with written_beside(sys.argv[1], overwrite=True, kind=sys.argv[2]) as path:
    path.mkdir() if sys.argv[2] == "model" else path.write_bytes(bytes(1000))
    print("ready", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def writing(source_root):
    """Start a process that writes to a target and does not finish."""
    processes = []

    def start(target, kind="file"):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_AND_WAIT, target, kind, source_root], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


class TestLeftovers:
    def test_of_a_killed_process_go_when_the_target_is_written_again(self, tmp_path, writing):
        target, other = tmp_path / "cells.h5ad", tmp_path / "other.h5ad"
        (tmp_path / ".sctab-notes.part").mkdir()  # not ours
        killed = [writing(target), writing(other)]
        alive = writing(target)
        for process in killed:
            process.send_signal(signal.SIGKILL)
            process.wait()
        n_before = len(list(tmp_path.glob(".sctab-*.part")))
        assert n_before == 4
        with written_beside(target, overwrite=True) as path:
            write_file(path)
            assert len(list(tmp_path.glob(".sctab-*.part"))) == n_before  # the free place has been taken
        assert len(list(tmp_path.glob(".sctab-*.part/cells.h5ad"))) == 1
        assert len(list(tmp_path.glob(".sctab-*.part/other.h5ad"))) == 1
        alive.kill()
        alive.wait()
        with written_beside(target, overwrite=True) as path:
            write_file(path)
        with written_beside(other, overwrite=True) as path:
            write_file(path)
        assert names_in(tmp_path) == [".sctab-notes.part", "cells.h5ad", "other.h5ad"]

    def test_a_directory_that_was_being_replaced_comes_back(self, tmp_path, writing):
        target = tmp_path / "model"
        process = writing(target, "model")
        process.kill()
        process.wait()
        (workplace,) = tmp_path.glob(".sctab-*.part")
        write_model(workplace / ".sctab-previous", text="old")  # as between the two steps

        def fail():
            with written_beside(target, overwrite=True, kind="model"):
                raise ValueError

        with pytest.raises(OutputExistsError, match="already exists"), written_beside(target, kind="model"):
            pass
        with pytest.raises(ValueError):  # noqa: PT011
            fail()
        assert names_in(tmp_path) == ["model"]
        assert (target / "model.safetensors").read_text() == "old"

    def test_an_interrupt_between_the_steps_of_a_replacement_loses_nothing(self, tmp_path, monkeypatch):
        target = tmp_path / "model"
        write_model(target, text="old")
        rename = Path.rename

        def interrupted_after(path, to):
            rename(path, to)
            if path == target:
                raise KeyboardInterrupt

        monkeypatch.setattr(Path, "rename", interrupted_after)
        with pytest.raises(KeyboardInterrupt), written_beside(target, overwrite=True, kind="model") as path:
            write_model(path)
        assert names_in(tmp_path) == ["model"]
        assert (target / "model.safetensors").read_text() == "old"

    def test_a_place_that_somebody_else_has_prepared_is_not_used(self, tmp_path):
        """Names that can be foreseen must not lead elsewhere."""
        target = tmp_path / "cells.h5ad"
        with written_beside(target) as path:
            workplace = path.parent
            write_file(path)
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "thesis.tex").write_text("mine")
        workplace.symlink_to(precious)
        with written_beside(target, overwrite=True) as path:
            assert path.parent != workplace
            write_file(path)
        assert (precious / "thesis.tex").read_text() == "mine"


def test_a_temporary_directory_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fill(error):
        with temporary_directory("x-") as folder:
            (folder / "a").write_text("x")
            raise error

    with pytest.raises(OutputError, match=r"in `.*`: No space left on device. Free some space, or set .* `TMPDIR`"):
        fill(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    for error in (ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "of something else")):
        with pytest.raises(type(error)):
            fill(error)
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match="No such file or directory. Free some space"):
        fill(ZeroDivisionError())
