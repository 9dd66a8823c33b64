"""Outputs of an annotation of files: which files they represent, and which are refused."""

import os
from pathlib import Path

import pytest

from sctab import OutputError, OutputExistsError, SettingError
from sctab.tl._targets import Target, check_targets


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5ad", "b.h5ad"):
        Path(name).write_text("cells")
    Path("in.zarr/obs").mkdir(parents=True)
    Path("model").mkdir()
    return tmp_path


def check(*outputs, inputs=("a.h5ad", "b.h5ad"), overwrite=True):
    return check_targets(outputs, list(inputs), ["model"], overwrite=overwrite)


def test_files_that_outputs_stand_for():
    assert check("t.csv", "copies", "x/t.parquet") == (
        [Path("t.csv"), Path("copies"), Path("x/t.parquet")],
        [Target(Path("t.csv")), Target(Path("copies/a.h5ad"), 0), Target(Path("copies/b.h5ad"), 1), Target(Path("x/t.parquet"))],
    )
    assert check("c.h5ad", "c.zarr", inputs=["a.h5ad"])[1] == [Target(Path("c.h5ad"), 0), Target(Path("c.zarr"), 0)]
    assert check("copies", inputs=["s3://bucket/c.zarr"])[1] == [Target(Path("copies/c.zarr"), 0)]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["x.csv", "./x.csv"], "are one output"),
        (["x.csv", "y/../x.csv"], "are one output"),
        (["copies", "./copies/"], "are one output"),
        (["c.zarr/x.csv", "c.zarr"], "lies in the other|is one file"),
        (["model/labels.csv"], "lies in `model`, which is an input"),
        (["model"], "`model/a.h5ad` lies in `model`, which is an input|`model` is or lies in `model`, which is an input"),
        (["model/copies"], "`model/copies` is or lies in `model`, which is an input"),
        (["."], "`a.h5ad` is an input .* never replaced"),
        (["x.loom"], "is none of"),
        (["s3://me:secret@bucket/x.csv?sig=hidden"], "^`s3://bucket/x.csv` is a URL"),
        (["x.h5ad"], "is one file, and there are 2 inputs"),
    ],
)
def test_refused(outputs, message):
    with pytest.raises(OutputError, match=message):
        check(*outputs)


@pytest.mark.parametrize("output", ["a.h5ad", "./a.h5ad", "hard.h5ad", "soft.h5ad"])
def test_an_input(output):
    Path("hard.h5ad").hardlink_to("a.h5ad")
    Path("soft.h5ad").symlink_to("a.h5ad")
    with pytest.raises(OutputError, match="is an input .* never replaced"):
        check(output, inputs=["a.h5ad"])


@pytest.mark.parametrize("output", ["in.zarr", "in.zarr/x.csv", "in.zarr/obs/x.csv"])
def test_inside_a_store(output):
    with pytest.raises(OutputError, match="an input"):
        check(output, inputs=["in.zarr"])


def test_nothing():
    with pytest.raises(SettingError, match="Nothing would be written"):
        check()


def test_a_directory_is_added_to(folder):
    Path("results").mkdir()
    Path("results/thesis.tex").write_text("mine")
    assert len(check("results", overwrite=False)[1]) == 2
    Path("results/b.h5ad").write_text("there")
    with pytest.raises(OutputExistsError, match="results/b.h5ad` already exists"):
        check("results", overwrite=False)
    assert len(check("results")[1]) == 2
    Path("linked").symlink_to("results")
    assert len(check("linked")[1]) == 2


@pytest.mark.parametrize("output", ["p", ".", "./p/..", "{}"])
def test_a_directory_may_contain_the_input(folder, output):
    Path("p/raw").mkdir(parents=True)
    Path("p/raw/x.h5ad").write_text("cells")
    (target,) = check(output.format(folder), inputs=["p/raw/x.h5ad"], overwrite=False)[1]
    assert target.path.resolve() == folder / ("p/x.h5ad" if output == "p" else "x.h5ad")
    assert [target.path for target in check("p", "p/labels.csv", inputs=["p/raw/x.h5ad"], overwrite=False)[1]] == [
        Path("p/x.h5ad"),
        Path("p/labels.csv"),
    ]
    assert check("p/out.h5ad", inputs=["p/raw/x.h5ad"])[1] == [Target(Path("p/out.h5ad"), 0)]


def test_a_store_must_not_contain_the_input():
    Path("all.zarr/raw").mkdir(parents=True)
    Path("all.zarr/raw/x.h5ad").write_text("cells")
    with pytest.raises(OutputError, match="`all.zarr` contains `all.zarr/raw/x.h5ad`, which is an input"):
        check("all.zarr", inputs=["all.zarr/raw/x.h5ad"])


@pytest.mark.parametrize("make", [os.mkfifo, lambda name: Path(name).write_text("x"), lambda name: Path(name).symlink_to("absent")])
def test_no_directory(make):
    make("copies")
    with pytest.raises(OutputExistsError, match="`copies` (exists and is not a directory|is a link that leads nowhere)"):
        check("copies")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_directory_where_a_table_belongs(name):
    Path(name).mkdir()
    with pytest.raises(OutputExistsError, match="is a directory, and a file does not replace it"):
        check(name)


def test_the_home_directory(monkeypatch, folder):
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert check("~/t.csv")[0] == [folder / "home/t.csv"]


def test_same_names():
    with pytest.raises(OutputError, match="have the same name"):
        check("copies", inputs=["a.h5ad", "x/a.h5ad"])
