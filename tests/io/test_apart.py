"""Outputs that would touch each other or an input."""

import time
from pathlib import Path

import pytest
from tests.outputs import write_file

from sctab import OutputError
from sctab.io._apart import check_apart
from sctab.io._atomic import written_beside
from sctab.io._replaceable import as_path


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
