"""Outputs of a finished annotation: left as they are by the same run, refused by another one."""

import shutil
import warnings

import anndata
import pyarrow.parquet
import pytest
from tests.reference import make_reference

import sctab
from sctab import OutputExistsError


@pytest.fixture
def query(tmp_path):
    path = tmp_path / "query.h5ad"
    adata = make_reference(60)
    adata.var_names = list(sctab.zoo.load_predictor("pbmc").spec.features.symbols[: adata.n_vars])
    adata.write_h5ad(path)
    return path


def annotate(query, output, **options):
    with warnings.catch_warnings(action="ignore", category=sctab.SctabWarning):  # few genes of the model are there
        return sctab.tl.annotate_files(query, "pbmc", output=output, min_gene_coverage=0.0, **({"resume": True} | options))


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


NAMES = [["a.parquet"], ["a.csv"], ["a.h5ad"], ["a.zarr"], ["a.parquet", "b.h5ad"], ["b.h5ad", "a.csv"]]


@pytest.mark.parametrize("names", NAMES, ids=str)
def test_the_same_run_has_nothing_to_do(query, tmp_path, names):
    outputs = [tmp_path / name for name in names]
    first = annotate(query, outputs)
    assert len(first.runs) == 1
    before = contents(tmp_path)
    again = annotate(query, outputs)
    assert again.outputs == first.outputs
    assert not again.runs
    assert again.labels.empty
    assert contents(tmp_path) == before
    for other in ({"key_added": "mine"}, {"precision": "bfloat16"}, {"batch_size": 7}, {"layer": "X"}):
        with pytest.raises(OutputExistsError, match="already exists and (is from other files|does not say from which)"):
            annotate(query, outputs, **other)
    with pytest.raises(OutputExistsError, match="already exists"):
        annotate(query, outputs, resume=False)
    assert contents(tmp_path) == before
    make_reference(61).write_h5ad(query)
    with pytest.raises(OutputExistsError, match="is from other files, settings or another model, so it is not resumed"):
        annotate(query, outputs)


@pytest.mark.parametrize("name", ["g.parquet", "g.csv"])
def test_the_table_of_genes_belongs_to_the_run(query, tmp_path, name):
    both = {"output": tmp_path / "a.csv", "genes_table": tmp_path / name}
    annotate(query, **both)
    assert not annotate(query, **both).runs
    with pytest.raises(OutputExistsError, match="is from other files, settings or another model"):
        annotate(query, **both, batch_size=7)


def test_a_directory_of_copies_is_recognised(query, tmp_path):
    shutil.copy(query, tmp_path / "other.h5ad")
    inputs = [query, tmp_path / "other.h5ad"]
    first = annotate(inputs, [tmp_path / "copies", tmp_path / "all.csv"])
    again = annotate(inputs, [tmp_path / "copies", tmp_path / "all.csv"])
    assert len(first.runs) == 2
    assert (again.outputs, again.runs) == (first.outputs, {})


def test_a_table_without_a_hash_is_refused(query, tmp_path):
    annotate(query, tmp_path / "a.csv")
    (tmp_path / ".a.csv.sctab-run").unlink()
    annotate(query, tmp_path / "b.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "b.parquet")
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), tmp_path / "b.parquet")
    before = contents(tmp_path)
    for name, why in (("a.csv", "was edited or does not say"), ("b.parquet", "does not say")):
        with pytest.raises(OutputExistsError, match=f"`.*{name}` already exists and {why} from which annotation it is"):
            annotate(query, tmp_path / name)
    assert contents(tmp_path) == before


def test_an_edited_csv_is_refused(query, tmp_path):
    annotate(query, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open("a") as handle:
        handle.write("cell_60,mine,,1,0\n")
    with pytest.raises(OutputExistsError, match="was edited"):
        annotate(query, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().endswith("cell_60,mine,,1,0\n")
    annotate(query, tmp_path / "a.csv", overwrite=True)
    assert not annotate(query, tmp_path / "a.csv").runs


def test_a_csv_that_was_removed_is_written_again(query, tmp_path):
    annotate(query, tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    assert annotate(query, tmp_path / "a.csv", resume=False).runs


def test_another_file_with_the_name_of_the_hidden_one_is_kept(query, tmp_path):
    hidden = tmp_path / ".a.csv.sctab-run"
    hidden.write_text("mine")
    with pytest.raises(OutputExistsError, match="was not written by `sctab`.*Choose another name for the table"):
        annotate(query, tmp_path / "a.csv", overwrite=True)
    assert hidden.read_text() == "mine"
    assert not (tmp_path / "a.csv").exists()


def test_a_file_of_somebody_else_is_refused(query, tmp_path):
    anndata.AnnData(make_reference(60).X).write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "b.parquet").write_text("mine")
    for name in ("a.h5ad", "b.parquet"):
        with pytest.raises(OutputExistsError, match="does not say from which annotation it is"):
            annotate(query, tmp_path / name)


def test_what_is_missing_is_not_made_beside_what_is_there(query, tmp_path):
    outputs = [tmp_path / "a.parquet", tmp_path / "b.h5ad"]
    annotate(query, outputs)
    outputs[1].unlink()
    with pytest.raises(OutputExistsError, match="`.*a.parquet` already exists, but not all outputs"):
        annotate(query, outputs)
