"""What an annotation writes destroys nothing, belongs to the cells that were read, and can be written whatever labels and names are."""

import csv
import shutil
from contextlib import nullcontext
from dataclasses import replace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from tests.reference import make_reference

import sctab
from sctab import DataFileError, LabelError, OutputError, OutputExistsError, SctabWarning, SettingError
from sctab.io import strict_json
from sctab.io._copies import Results
from sctab.io._spreadsheets import from_text
from sctab.model import LinearClassifier
from sctab.ontology import LabelSpace
from sctab.tl import _annotate_files, _written_files

pytestmark = pytest.mark.filterwarnings("ignore:.*cells? ha(ve|s) no count:sctab.errors.SctabWarning")


@pytest.fixture(scope="module")
def model():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    return model


@pytest.fixture(scope="module")
def query():
    query = make_reference(40, seed=7)
    query.obs = query.obs[["donor_id"]]
    query.layers["counts"] = query.X.copy()
    return query


@pytest.fixture
def path(query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    return tmp_path / "query.h5ad"


def with_labels(model, names):
    """The same genes, and other labels with random weights."""
    space = LabelSpace(names=tuple(names), ids=(None,) * len(names), ontology_version="", notes=())
    other = LinearClassifier(spec=replace(model.spec, labels=space))
    torch.manual_seed(0)
    for parameter in other.module.parameters():
        torch.nn.init.normal_(parameter)
    other.gene_importance = model.gene_importance
    other.is_trained_ = True
    return other


def names_in(directory):
    return sorted(entry.name for entry in directory.iterdir())


def read(path):
    return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


MANY = [f"type {i}" for i in range(4100)]
LABELS = {
    "many": (MANY, False),
    "slash and bar": (["A/B", "A|B", "C"], False),
    "empty": (["", "B", "C"], False),
    "index": (["_index", "B", "C"], False),
    "dots": ([".", "..", "C"], False),
    "long": (["x" * 300, "B", "C"], False),
    "slash alone": (["A/B", "B", "C"], True),
    "odd": (["=1+1", "-x", "[red]B[/red]"], True),
}


class TestLabels:
    @pytest.mark.parametrize("case", LABELS)
    def test_in_memory_and_in_files(self, model, query, path, tmp_path, case):
        names, is_frame = LABELS[case]
        other = with_labels(model, names)
        expected = sctab.tl.annotate(query, other, copy=True)
        assert isinstance(expected.obsm["sctab_probabilities"], pd.DataFrame) == is_frame
        expected.write_h5ad(tmp_path / "memory.h5ad")
        expected.write_zarr(tmp_path / "memory.zarr")
        outputs = [tmp_path / name for name in ("file.h5ad", "file.zarr", "table.csv", "table.parquet")]
        sctab.tl.annotate_files(path, other, output=outputs, block_size=16)
        probabilities = sctab.get.probabilities(expected)
        assert list(probabilities.columns) == names
        for name in ("memory.h5ad", "memory.zarr", "file.h5ad", "file.zarr"):
            found = read(tmp_path / name)
            assert found.obs["sctab_label"].tolist() == expected.obs["sctab_label"].tolist()
            pd.testing.assert_frame_equal(sctab.get.probabilities(found), probabilities, rtol=0, atol=1e-5)
        labels = expected.obs["sctab_label"].tolist()
        assert pd.read_parquet(tmp_path / "table.parquet")["sctab_label"].tolist() == labels
        with (tmp_path / "table.csv").open(newline="") as handle:
            assert [from_text(row["sctab_label"]) for row in csv.DictReader(handle)] == labels

    @pytest.mark.parametrize("name", ["a\0b", "\ud800"])
    def test_no_text(self, model, query, path, tmp_path, name):
        other = with_labels(model, [name, "B"])
        before = query.copy()
        with pytest.raises(LabelError, match="cannot be written to a file"):
            sctab.tl.annotate(query, other)
        assert list(query.obs) == list(before.obs)
        with pytest.raises(LabelError, match="cannot be written to a file"):
            sctab.tl.annotate_files(path, other, output=tmp_path / "x.csv")
        assert names_in(tmp_path) == ["query.h5ad"]


@pytest.mark.parametrize("key", ["a/b", "", "..", "a\n"])
def test_key_added_is_checked_before_work(model, query, path, tmp_path, key):
    before = query.copy()
    for annotate in (
        lambda: sctab.tl.annotate(query, model, key_added=key),
        lambda: sctab.tl.annotate_files(path, model, output=tmp_path / "x.h5ad", key_added=key),
        lambda: sctab.tl.explain(query, model, key_added=key),
        lambda: sctab.tl.evaluate(query, "donor_id", key_added=key),
        lambda: sctab.pp.split(query, "donor_id", key_added=key),
        lambda: sctab.pp.sketch(query, 10, key_added=key),
        lambda: sctab.pp.distil(query, "donor_id", key_added=key),
    ):
        with pytest.raises(SettingError, match="`key_added="):
            annotate()
    assert list(query.obs) == list(before.obs)
    assert names_in(tmp_path) == ["query.h5ad"]


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_names_of_cells(model, query, tmp_path):
    """Names that spreadsheets, terminals and file systems make something of."""
    odd = ["=1+1", "+x", "-x", "@x", "\tx", "'=x", "a,b", 'a"b', "a\nb", "[red]", "α", "", "nan", "-0.5", "cell", "cell"]
    named = query[: len(odd)].copy()
    named.obs_names = odd
    named.write_h5ad(tmp_path / "in.h5ad")
    outputs = [tmp_path / name for name in ("out.csv", "out.parquet", "out.h5ad")]
    with pytest.warns(SctabWarning, match=r"7 cell names begin like a spreadsheet formula\. .*out.csv"):
        sctab.tl.annotate_files(tmp_path / "in.h5ad", model, output=outputs)
    with outputs[0].open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [from_text(row["cell"]) for row in rows] == odd
    assert not [row["cell"] for row in rows if row["cell"][:1] in set("=+-@\t\r\n")]
    assert all(0 < float(row["sctab_confidence"]) <= 1 for row in rows)
    assert pd.read_parquet(outputs[1])["cell"].tolist() == odd
    assert read(outputs[2]).obs_names.tolist() == odd


class TestInputs:
    @pytest.fixture(params=["query.h5ad", "query.zarr"])
    def given(self, request, query, path, tmp_path):
        if request.param == "query.zarr":
            query.write_zarr(tmp_path / "query.zarr")
            path.unlink()
        return tmp_path / request.param

    def replace(self, given, query):
        other = query[::-1].copy()
        if given.suffix == ".zarr":
            shutil.rmtree(given)
            other.write_zarr(given)
        else:
            other.write_h5ad(given.with_suffix(".new"))
            given.with_suffix(".new").replace(given)

    @pytest.mark.parametrize("output", ["out.csv", "out.h5ad", "out.zarr", "copies"])
    @pytest.mark.parametrize("when", ["annotate_cells", "copy_data", "open_table", "check_copy", "check_table"])
    def test_replaced_meanwhile(self, model, query, given, tmp_path, monkeypatch, output, when):
        """Before the results are written, while they are, and after."""
        module = _annotate_files if when == "annotate_cells" else _written_files
        original, n_calls = getattr(module, when), []

        def first_replace(*arguments, **options):
            found = original(*arguments, **options)
            if not n_calls:
                self.replace(given, query)
            n_calls.append(1)
            return found

        monkeypatch.setattr(module, when, first_replace)
        if when.endswith("table") != (output == "out.csv") and when != "annotate_cells":
            return  # is not called
        with pytest.raises((DataFileError, OutputError), match="changed while it was read|cannot be read back"):
            sctab.tl.annotate_files(given, model, output=tmp_path / output, block_size=16)
        assert n_calls
        monkeypatch.undo()
        assert set(names_in(tmp_path)) <= {given.name, "copies", f"{output}.parts"}
        assert read(given).obs_names.tolist() == query.obs_names[::-1].tolist()
        first = tmp_path / output / given.name if output == "copies" else tmp_path / output
        with pytest.raises((SettingError, FileNotFoundError)) if first.with_name(f"{first.name}.parts").exists() else nullcontext():
            sctab.tl.annotate_files(given, model, output=tmp_path / output, block_size=16, resume=True)

    def test_written_to_in_place(self, model, path, tmp_path, monkeypatch):
        original = _annotate_files.annotate_cells

        def write(*arguments, **options):
            found = original(*arguments, **options)
            with path.open("r+b") as handle:
                handle.seek(-1, 2)
                handle.write(b"\1")
            return found

        monkeypatch.setattr(_annotate_files, "annotate_cells", write)
        with pytest.raises(DataFileError, match="changed while it was read"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet")
        assert names_in(tmp_path) == ["query.h5ad"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_input_is_never_an_output(self, model, given, tmp_path, overwrite):
        before = given.stat().st_ino
        with pytest.raises(OutputError, match="is an input"):
            sctab.tl.annotate_files(given, model, output=given, overwrite=overwrite)
        with pytest.raises(OutputError, match="is an input"):
            sctab.tl.annotate_files(tmp_path, model, output=tmp_path, overwrite=overwrite)
        assert given.stat().st_ino == before
        assert names_in(tmp_path) == [given.name]

    def test_links_within_a_file_become_data(self, model, query, path, tmp_path):
        with h5py.File(path, "r+") as file:
            file["layers/again"] = h5py.SoftLink("/layers/counts")
        for name in ("out.h5ad", "out.zarr"):
            sctab.tl.annotate_files(path, model, output=tmp_path / name)
            found = read(tmp_path / name)
            assert (found.layers["again"] != query.layers["counts"]).nnz == 0
            assert found.obs_names.tolist() == query.obs_names.tolist()
        with h5py.File(tmp_path / "out.h5ad") as file:
            assert isinstance(file["layers"].get("again", getlink=True), h5py.HardLink)

    @pytest.mark.parametrize("output", ["out.h5ad", "out.zarr"])
    def test_a_link_to_nothing_matters_for_copies_only(self, model, path, tmp_path, monkeypatch, output):
        with h5py.File(path, "r+") as file:
            file["uns/old"] = h5py.SoftLink("/uns/gone")
        sctab.tl.annotate_files(path, model, output=[tmp_path / "out.csv", tmp_path / "out.parquet"])
        assert len(pd.read_csv(tmp_path / "out.csv")) == 40
        monkeypatch.setattr(
            _annotate_files, "annotate_cells", lambda *_, **__: pytest.fail("it must be refused before cells are named")
        )
        with pytest.raises(DataFileError, match=r"`uns/old` is a link to `/uns/gone`, .* not for tables of labels\."):
            sctab.tl.annotate_files(path, model, output=tmp_path / output)
        assert names_in(tmp_path) == [".out.csv.sctab-run", "out.csv", "out.parquet", "query.h5ad"]

    def test_what_the_other_format_cannot_hold_is_named(self, model, path, tmp_path):
        with h5py.File(path, "r+") as file:
            file["uns/refs"] = np.array([file["X"].ref], dtype=h5py.ref_dtype)
        with pytest.raises(DataFileError, match=r"`uns/refs` of `.*` cannot be written as .zarr: it holds references"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.zarr")
        assert names_in(tmp_path) == ["out.zarr.parts", "query.h5ad"]

    @pytest.mark.parametrize("outputs", [["out.zarr"], ["out.zarr", "other.parquet"], ["out.csv", "copy.zarr"], ["copies"]])
    def test_a_copy_that_cannot_be_made_leaves_a_table_to_write(self, model, query, path, tmp_path, monkeypatch, outputs):
        model.save(tmp_path / "model")
        model = tmp_path / "model"
        with h5py.File(path, "r+") as file:
            del file["uns"]
            file.create_group("uns").create_dataset("odd", data=1).attrs["encoding-type"] = "unheard of"
        with pytest.raises(DataFileError, match=r"`uns(/odd)?` of `.*` cannot be (read|written)") as caught:
            sctab.tl.annotate_files(path, model, output=[tmp_path / name for name in outputs], block_size=16)
        (note,) = caught.value.__notes__
        table = tmp_path / {"copies": "copies/query.csv"}.get(outputs[0], "out.csv")
        assert note.startswith("All cells are annotated, and the results are kept in `")
        assert f"`output='{table}', resume=True`" in note
        monkeypatch.setattr(LinearClassifier, "_forward", lambda *_: pytest.fail("no cell is evaluated again"))
        sctab.tl.annotate_files(path, model, output=table, block_size=16, resume=True)
        monkeypatch.undo()
        expected = sctab.tl.annotate(query, model, copy=True).obs["sctab_label"].tolist()
        assert pd.read_csv(table)["sctab_label"].tolist() == expected
        assert not list(tmp_path.rglob("*.parts"))


class TestGenes:
    @pytest.mark.parametrize("name", ["genes.csv", "genes.parquet"])
    def test_of_one_file(self, model, query, path, tmp_path, name):
        done = sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", genes_table=tmp_path / name)
        assert done.outputs == (tmp_path / "out.parquet", tmp_path / name)
        found = pd.read_csv(tmp_path / name, keep_default_na=False) if name.endswith("csv") else pd.read_parquet(tmp_path / name)
        expected = sctab.get.genes(query, model).reset_index()
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)
        assert not list(tmp_path.glob("*.parts"))

    def test_of_several(self, model, query, path, tmp_path):
        query[:, 5:].write_h5ad(tmp_path / "other.h5ad")
        sctab.tl.annotate_files(
            [path, tmp_path / "other.h5ad"], model, output=tmp_path / "out.csv", genes_table=tmp_path / "g.parquet"
        )
        found = pd.read_parquet(tmp_path / "g.parquet")
        n_missing = (~found["found"]).groupby(found["file"].astype(str), sort=False).sum()
        assert n_missing.to_dict() == {str(path): 0, str(tmp_path / "other.h5ad"): 5}

    def test_belongs_to_the_run(self, model, path, tmp_path):
        model.save(tmp_path / "model")
        both = {"output": tmp_path / "out.parquet", "genes_table": tmp_path / "g.parquet"}
        sctab.tl.annotate_files(path, tmp_path / "model", **both)
        with pytest.raises(OutputExistsError, match="already exists"):
            sctab.tl.annotate_files(path, tmp_path / "model", **both)
        assert not sctab.tl.annotate_files(path, tmp_path / "model", resume=True, **both).runs

    @pytest.mark.parametrize("name", ["genes.h5ad", "genes", "genes.txt"])
    def test_is_a_table(self, model, path, tmp_path, name):
        with pytest.raises(SettingError, match=rf"genes_table='.*{name}'` must end with one of `.parquet`, `.csv`"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.csv", genes_table=tmp_path / name)
        assert names_in(tmp_path) == ["query.h5ad"]


class TestOutputs:
    def test_files_of_others_stay(self, model, path, tmp_path):
        (tmp_path / "results/figures").mkdir(parents=True)
        (tmp_path / "results/thesis.tex").write_text("years of work")
        (tmp_path / "results/query.h5ad").write_text("an earlier copy")
        with pytest.raises(OutputExistsError, match="results/query.h5ad` already exists"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "results")
        done = sctab.tl.annotate_files(path, model, output=tmp_path / "results", overwrite=True)
        assert done.outputs == (tmp_path / "results",)
        assert names_in(tmp_path / "results") == ["figures", "query.h5ad", "thesis.tex"]
        assert "sctab_label" in read(tmp_path / "results/query.h5ad").obs

    def test_a_directory_that_contains_the_input(self, model, path, tmp_path, monkeypatch):
        (tmp_path / "raw").mkdir()
        path.rename(tmp_path / "raw/query.h5ad")
        monkeypatch.chdir(tmp_path)
        before = (tmp_path / "raw/query.h5ad").read_bytes()
        monkeypatch.setattr(_annotate_files, "labels_of", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sctab.tl.annotate_files("raw/query.h5ad", model, output=".")
        assert names_in(tmp_path) == ["query.h5ad.parts", "raw"]  # nothing is written outside of it
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        sctab.tl.annotate_files("raw/query.h5ad", model, output=".", overwrite=True)
        assert names_in(tmp_path) == ["query.h5ad", "raw"]
        assert names_in(tmp_path / "raw") == ["query.h5ad"]
        assert (tmp_path / "raw/query.h5ad").read_bytes() == before

    def test_what_is_wrong_is_not_moved_into_place(self, model, path, tmp_path, monkeypatch):
        monkeypatch.setattr(Results, "write", lambda *_: None)
        (tmp_path / "out.h5ad").write_text("old")
        with pytest.raises(OutputError, match=r"out.h5ad` was written but cannot be read back: `obs\['sctab_label'\]` differs"):
            sctab.tl.annotate_files(path, model, output=[tmp_path / "out.csv", tmp_path / "out.h5ad"], overwrite=True)
        assert (tmp_path / "out.h5ad").read_text() == "old"
        assert not (tmp_path / "out.csv").exists()

    def test_a_journal_removes_only_its_own(self, model, path, tmp_path):
        parts = tmp_path / "out.csv.parts"
        parts.mkdir()
        strict_json.write(parts / "run.json", strict_json.with_digest({"format": "sctab-annotation"}))
        (parts / "notes.txt").write_text("mine")
        (parts / "mine").mkdir()
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.csv", overwrite=True)
        assert names_in(parts) == ["mine", "notes.txt"]

    def test_names_that_look_like_patterns(self, model, path, tmp_path):
        path.rename(tmp_path / "r[1].h5ad")
        (tmp_path / "x[a]").mkdir()
        shutil.copy(tmp_path / "r[1].h5ad", tmp_path / "x[a]/r*.h5ad")
        for given, name in ((tmp_path / "r[1].h5ad", "r[1].h5ad"), (f"{tmp_path}/x[a]/*.h5ad", "r*.h5ad")):
            done = sctab.tl.annotate_files(given, model, output=tmp_path / "out", overwrite=True)
            assert [run.rsplit("/", 1)[1] for run in done.runs] == [name]
        assert names_in(tmp_path / "out") == ["r*.h5ad", "r[1].h5ad"]

    def test_a_name_that_is_no_text(self, model, query, tmp_path):
        for name in (b"a\xff.h5ad", b"b.h5ad"):
            query.write_h5ad(tmp_path / "new.h5ad")
            (tmp_path / "new.h5ad").rename(tmp_path / str(name, "utf-8", "surrogateescape"))
        for suffix in (".csv", ".parquet"):
            sctab.tl.annotate_files(tmp_path, model, output=tmp_path / f"out{suffix}")
        assert {*pd.read_csv(tmp_path / "out.csv")["file"]} == {f"{tmp_path}/a\\xff.h5ad", f"{tmp_path}/b.h5ad"}
