"""What an output may replace, and what it never does."""

import os
import socket
from functools import partial
from pathlib import Path

import anndata
import pytest
from tests.outputs import WRITERS, contents, names_in, write_ensemble, write_file, write_model, write_store

from sctab import OutputError, OutputExistsError
from sctab.io._atomic import written_beside
from sctab.io._replaceable import check_free

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
        self.refused(target, kind, "target` (is (a link to|a pipe, a socket or a device|a file|a directory)|exists and is not a)")
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
        self.refused(tmp_path / "target", kind, "exists and is not a")

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
        self.refused(tmp_path / "target", "model", r"target` exists and is not a model directory: it holds `[\w.]+`, which")

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
