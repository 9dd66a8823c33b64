"""Files and directories are there whole, or as they were before."""

import os
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

from sctab import DataFileError, ModelNotFoundError, OutputError, OutputExistsError
from sctab._atomic import written_beside

UNCHANGED = r"\. What was there before is unchanged\.$"


def contents(directory):
    """Everything below a directory: the bytes of each file, `None` for a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


@pytest.fixture(params=["nothing", "file", "directory"])
def before(request, tmp_path):
    """A target at which there is nothing, a file, or a directory with a file."""
    target = tmp_path / "target"
    if request.param == "file":
        target.write_text("old")
    elif request.param == "directory":
        target.mkdir()
        (target / "old.txt").write_text("old")
    return target


def write_file(path):
    path.write_text("new")


def write_directory(path):
    path.mkdir()
    (path / "new.txt").write_text("new")


@pytest.fixture
def small_files_only():
    """Let this process write no file of more than 64 KiB, as a quota or a small disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSuccess:
    @pytest.mark.parametrize(
        ("write", "expected"),
        [(write_file, {"target": b"new"}), (write_directory, {"target": None, "target/new.txt": b"new"})],
    )
    def test_what_was_written_takes_the_place_of_what_was_there(self, before, tmp_path, write, expected):
        with written_beside(before, overwrite=True) as path:
            write(path)
        assert contents(tmp_path) == expected

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

    @pytest.mark.parametrize("write", [write_file, write_directory])
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
    @pytest.mark.parametrize("write", [write_file, write_directory])
    def test_an_error_leaves_everything_as_it_was(self, before, tmp_path, write, error):
        expected = contents(tmp_path)

        def fail_halfway():
            with written_beside(before, overwrite=True) as path:
                write(path)
                raise error

        with pytest.raises(type(error)) as caught:
            fail_halfway()
        assert caught.value is error
        assert contents(tmp_path) == expected

    @pytest.mark.parametrize("error", [DataFileError("`in.h5ad` is not there."), ModelNotFoundError("There is no model `x`.")])
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
            pytest.raises(OutputExistsError, match=r"labels\.csv` is already there\. Choose another name, or allow"),
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

        with pytest.raises(OutputExistsError, match="is already there"):
            write_late()
        assert contents(tmp_path) == {"labels.csv": b"of another process"}

    @pytest.mark.usefixtures("small_files_only")
    def test_a_file_too_large(self, before, tmp_path):
        expected = contents(tmp_path)

        def write_much():
            with written_beside(before, overwrite=True) as path:
                path.write_bytes(bytes(1 << 20))

        with pytest.raises(OutputError, match=r"target` could not be written: .*File too large.*" + UNCHANGED):
            write_much()
        assert contents(tmp_path) == expected

    @pytest.mark.usefixtures("small_files_only")
    def test_a_file_too_large_in_the_middle_of_a_directory(self, before, tmp_path):
        expected = contents(tmp_path)

        def write_much():
            with written_beside(before, overwrite=True) as path:
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

        with pytest.raises(OutputError, match=r"(?s)cells\.h5ad` could not be written: .*" + UNCHANGED):
            write_much()
        assert contents(tmp_path) == {}

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
    def test_a_full_disk(self, before, tmp_path):
        expected = contents(tmp_path)

        def write_to_full_disk():
            with written_beside(before, overwrite=True) as path:
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

    def test_a_block_that_writes_nothing(self, before, tmp_path):
        expected = contents(tmp_path)
        with pytest.raises(OutputError, match=r"target` could not be written"), written_beside(before, overwrite=True):
            pass
        assert contents(tmp_path) == expected
