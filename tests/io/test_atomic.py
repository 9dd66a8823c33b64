"""Files and directories are there whole, or as they were before."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import zarr

from sctab import DataFileError, ModelNotFoundError, OutputError, OutputExistsError
from sctab.io._apart import check_apart
from sctab.io._atomic import written_beside
from sctab.io._replaceable import as_path, check_free

UNCHANGED = r"\. What was there before is unchanged\.$"


def contents(directory):
    """Everything below a directory: the bytes of each file, `None` for a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


def names_in(directory):
    return sorted(entry.name for entry in directory.iterdir())


def write_file(path):
    path.write_text("new")


def write_model(path, text="new"):
    path.mkdir()
    (path / "model.json").write_text(json.dumps({"format": "sctab-model", "text": text}))
    (path / "model.safetensors").write_bytes(text.encode())


def write_ensemble(path):
    path.mkdir()
    (path / "ensemble.json").write_text(json.dumps({"format": "sctab-ensemble"}))
    for i in range(2):
        write_model(path / f"member_{i}")


def write_store(path, value=1, zarr_format=3):
    adata = anndata.AnnData(np.full((3, 2), value, dtype=np.float32), uns={"words": np.array(["a"])})
    anndata.io.write_elem(zarr.open_group(path, mode="w", zarr_format=zarr_format), "/", adata)


WRITERS = {"file": write_file, "model": write_model, "store": write_store}
OF_SYSTEM = [".DS_Store", "._model.json", ".nfs0000000002b7a3f100000c1f", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini"]
IN_THE_WAY = {
    "file": write_file,
    "directory": lambda path: (path.mkdir(), (path / "thesis.tex").write_text("mine")),
    "pipe": os.mkfifo,
    "socket": lambda path: _bind(path),
    "link to a file": lambda path: ((path.parent / "other.txt").write_text("mine"), path.symlink_to("other.txt")),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to a directory": lambda path: (write_model(path.parent / "other"), path.symlink_to("other")),
}


def _bind(path):
    folder = os.open(path.parent, os.O_RDONLY)  # the path of a socket may have some 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


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


class TestWhatIsReplaced:
    """Only regular files, and directories in which everything is what is written there."""

    def refused(self, target, kind, message):
        folder = target.parent
        there = sorted(entry.name for entry in folder.rglob("*"))
        with pytest.raises(OutputExistsError, match=message), written_beside(target, overwrite=True, kind=kind):
            pytest.fail("the block must not start")
        assert sorted(entry.name for entry in folder.rglob("*")) == there

    @pytest.mark.parametrize("kind", WRITERS)
    @pytest.mark.parametrize("there", IN_THE_WAY)
    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="makes a socket by way of `/proc`")
    def test_nothing_else(self, tmp_path, there, kind):
        target = tmp_path / "target"
        IN_THE_WAY[there](target)
        if (there, kind) == ("file", "file"):
            return
        before = target.lstat()
        self.refused(target, kind, "target` is (a link to|a pipe, a socket or a device|a file|a directory|there and is not a)")
        assert (target.lstat().st_ino, target.lstat().st_mode) == (before.st_ino, before.st_mode)
        with pytest.raises(OutputExistsError):
            check_free(target, overwrite=False, kind=kind)

    @pytest.mark.parametrize("name", [".", "..", "/", "", "a/.."])
    @pytest.mark.parametrize("kind", WRITERS)
    def test_what_is_not_a_name(self, name, kind, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OutputError, match="is not the name of an output. Choose one, such as `.*new`"):
            check_free(Path(name), overwrite=True, kind=kind)

    def test_a_store_whose_ending_is_in_upper_case(self, tmp_path):
        write_store(tmp_path / "target.ZARR")
        with written_beside(tmp_path / "target.ZARR", overwrite=True) as path:
            write_store(path, value=2)
        assert anndata.read_zarr(tmp_path / "target.ZARR").X.max() == 2

    def test_a_device(self):
        with pytest.raises(OutputExistsError, match="`/dev/null` is a pipe, a socket or a device"):
            check_free(Path("/dev/null"), overwrite=True)

    @pytest.mark.parametrize(("kind", "write"), [("model", write_store), ("store", write_model), ("store", write_ensemble)])
    def test_directories_of_another_kind(self, tmp_path, kind, write):
        write(tmp_path / "target")
        self.refused(tmp_path / "target", kind, "is there and is not a")

    @pytest.mark.parametrize("write", [write_model, write_ensemble, lambda path: path.mkdir()])
    def test_models_ensembles_and_empty_directories(self, tmp_path, write):
        write(tmp_path / "target")
        with written_beside(tmp_path / "target", overwrite=True, kind="model") as path:
            write_model(path)
        assert names_in(tmp_path / "target") == ["model.json", "model.safetensors"]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda path: (path / "thesis.tex").write_text("mine"),
            lambda path: (path / ".hidden").write_text("mine"),
            lambda path: (path / "run").mkdir(),
            lambda path: (path / "MODEL_CARD.md").symlink_to(path / "model.json"),
            lambda path: ((path / "model.safetensors").unlink(), (path / "model.safetensors").mkdir()),
            lambda path: (path / "model.json").write_text('{"learner": "XGBoost"}'),
            lambda path: (path / "model.json").write_text("[1]"),
            lambda path: (path / "model.json").unlink(),
        ],
    )
    def test_a_model_with_something_else(self, tmp_path, spoil):
        write_model(tmp_path / "target")
        spoil(tmp_path / "target")
        self.refused(tmp_path / "target", "model", r"target` is there and is not a model directory: it holds `[\w.]+`, which")

    @pytest.mark.parametrize("place", ["thesis.tex", "member_x", "member_1/thesis.tex", "checkpoints/a"])
    def test_an_ensemble_with_something_else(self, tmp_path, place):
        write_ensemble(tmp_path / "target")
        (tmp_path / "target" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "target" / place).write_text("mine")
        self.refused(tmp_path / "target", "model", "is not a model directory: it holds")

    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize(
        "place", ["thesis.tex", "X/thesis.tex", "obs/thesis.tex", "images/0/0", "layers/mine/a", "X/c/0/a", "uns/0"]
    )
    def test_a_store_with_something_else(self, tmp_path, place, zarr_format):
        write_store(tmp_path / "target.zarr", zarr_format=zarr_format)
        check_free(tmp_path / "target.zarr", overwrite=True)
        (tmp_path / "target.zarr" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "target.zarr" / place).write_text("mine")
        self.refused(tmp_path / "target.zarr", None, "is not a `.zarr` store: it holds `")

    @pytest.mark.parametrize("name", OF_SYSTEM)
    @pytest.mark.parametrize(
        ("kind", "write", "folders"),
        [
            ("model", write_model, ["."]),
            ("model", write_ensemble, [".", "member_1"]),
            ("model", lambda path: path.mkdir(), ["."]),
            ("store", write_store, [".", "obs", "uns", "X", "X/c", "X/c/0"]),
            ("store", partial(write_store, zarr_format=2), [".", "obs", "uns", "X"]),
            ("store", lambda path: path.mkdir(), ["."]),
        ],
    )
    def test_files_that_an_operating_system_leaves_go_along(self, tmp_path, name, kind, write, folders):
        write(tmp_path / "target")
        for folder in folders:
            (tmp_path / "target" / folder / name).write_text("of a window")
        with written_beside(tmp_path / "target", overwrite=True, kind=kind) as path:
            WRITERS[kind](path)
        WRITERS[kind](tmp_path / "same")
        assert contents(tmp_path / "target") == contents(tmp_path / "same")

    @pytest.mark.parametrize("name", [".DS_Store", "._x"])
    @pytest.mark.parametrize("kind", ["model", "store"])
    def test_only_files_are_of_an_operating_system(self, tmp_path, name, kind):
        WRITERS[kind](tmp_path / "target")
        (tmp_path / "target" / name).mkdir()
        self.refused(tmp_path / "target", kind, f"it holds `{name}`")

    @pytest.mark.parametrize("name", ["DS_Store", "._", ".nfs", ".nfs-notes", "Thumbs.db.txt", "my desktop.ini"])
    def test_similar_names_are_not_of_an_operating_system(self, tmp_path, name):
        write_model(tmp_path / "target")
        (tmp_path / "target" / name).write_text("mine")
        self.refused(tmp_path / "target", "model", f"it holds `{name}`")

    def test_a_store_with_a_link(self, tmp_path):
        write_store(tmp_path / "target.zarr")
        write_model(tmp_path / "other")
        (tmp_path / "target.zarr/layers/mine").symlink_to(tmp_path / "other")
        self.refused(tmp_path / "target.zarr", None, "it holds `layers/mine`")

    def test_what_came_into_a_directory_meanwhile(self, tmp_path):
        write_model(tmp_path / "target")

        def write_late():
            with written_beside(tmp_path / "target", overwrite=True, kind="model") as path:
                write_model(path)
                (tmp_path / "target/thesis.tex").write_text("mine")

        with pytest.raises(OutputExistsError, match="`thesis.tex`"):
            write_late()
        assert names_in(tmp_path) == ["target"]
        assert (tmp_path / "target/thesis.tex").read_text() == "mine"

    def test_another_name_of_the_file_keeps_what_it_had(self, tmp_path):
        (tmp_path / "old.csv").write_text("old")
        (tmp_path / "new.csv").hardlink_to(tmp_path / "old.csv")
        with written_beside(tmp_path / "new.csv", overwrite=True) as path:
            write_file(path)
        assert (tmp_path / "old.csv").read_text() == "old"


class TestApart:
    """Outputs do not meet each other, nor inputs."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "in.h5ad").write_text("cells")
        (tmp_path / "data").mkdir()
        (tmp_path / "data/a.h5ad").write_text("cells")
        (tmp_path / "hard.h5ad").hardlink_to("in.h5ad")
        (tmp_path / "soft.h5ad").symlink_to("in.h5ad")
        (tmp_path / "linked").symlink_to("data")
        return tmp_path

    @pytest.mark.parametrize(
        "names",
        [
            ("a.csv", "a.csv"),
            ("a.csv", "./a.csv"),
            ("data/x.csv", "linked/x.csv"),
            ("in.h5ad", "hard.h5ad"),
            ("a.csv", "data/../a.csv"),
            ("a.csv", "{}/a.csv"),
        ],
    )
    def test_two_outputs_of_one_place(self, folder, names):
        with pytest.raises(OutputError, match="are one output. Give each a name of its own"):
            check_apart([name.format(folder) for name in names])

    @pytest.mark.parametrize("names", [("new", "new/labels.csv"), ("new/deep/labels.csv", "new"), ("linked", "data/b.csv")])
    def test_one_output_inside_another(self, names):
        with pytest.raises(OutputError, match="lies in the other"):
            check_apart(names)

    @pytest.mark.parametrize("name", ["in.h5ad", "./in.h5ad", "hard.h5ad", "soft.h5ad", "{}/in.h5ad", "data/../in.h5ad"])
    def test_an_input(self, folder, name):
        with pytest.raises(OutputError, match="is an input .*inputs are never replaced"):
            check_apart([name.format(folder)], ["in.h5ad"])

    @pytest.mark.parametrize(("name", "given"), [("data", "data/a.h5ad"), ("linked", "data/a.h5ad"), ("..", "in.h5ad")])
    def test_around_an_input(self, name, given):
        with pytest.raises(OutputError, match="contains `.*`, which is an input"):
            check_apart([name], [given])

    @pytest.mark.parametrize("name", ["data/new/x.csv", "linked/x.csv"])
    def test_inside_an_input(self, name):
        with pytest.raises(OutputError, match="lies in `data`, which is an input"):
            check_apart([name], ["data"])

    @pytest.mark.parametrize("name", ["data", "data/new", "linked", "linked/new"])
    def test_a_directory_that_files_are_added_to(self, name):
        check_apart(["data/b.h5ad"], ["data/a.h5ad", "in.h5ad"], folders=[name, "."])
        with pytest.raises(OutputError, match=f"`{name}` is or lies in `data`, which is an input"):
            check_apart([], ["data"], folders=[name])

    def test_beside(self):
        check_apart(["data/b.h5ad", "a.csv", "A.csv", "in"], ["in.h5ad", "data/a.h5ad", "s3://bucket/a.csv"])

    def test_many(self):
        """Every output is not compared with every input."""
        names = [f"data/{i}.h5ad" for i in range(2000)]
        began = time.perf_counter()
        check_apart([f"out/{i}.h5ad" for i in range(2000)], names)
        assert time.perf_counter() - began < 5

    def test_the_home_directory(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert as_path("~/a.csv") == tmp_path / "a.csv"
        assert as_path("a~/b.csv") == Path("a~/b.csv")
        with written_beside("~/a.csv") as path:
            write_file(path)
        assert (tmp_path / "a.csv").read_text() == "new"
        with pytest.raises(OutputError, match="are one output"):
            check_apart(["~/a.csv", tmp_path / "a.csv"])


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

        with pytest.raises(OutputExistsError, match="already there"), written_beside(target, kind="model"):
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
