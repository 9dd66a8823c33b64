"""Labels that Cell Ranger wrote beside a matrix, joined by barcode."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tests.formats import write_market, write_ten_x
from tests.reference import make_reference

from sctab.errors import SctabWarning
from sctab.io import DataFile, copy_data, find_data_files, read_data_file
from sctab.io._run_labels import RunLabels


@pytest.fixture
def cells():
    cells = make_reference(40)
    cells.obs_names = [f"ACGT{i}-1" for i in range(40)]
    return cells


@pytest.fixture
def table(cells):
    """Labels in another order, without the first three cells, with a barcode that is not in the matrix, a missing label and a number."""
    coarse = cells.obs["cell_type"].astype(object).iloc[3:]
    table = pd.DataFrame({"barcode": coarse.index, "coarse_cell_type": coarse.to_numpy(), "fine_cell_type": "NA", "score": 0.5})
    table.loc[len(table)] = ["TTTT-1", "neuron", "neuron", 0.25]
    table.loc[2, ["coarse_cell_type", "score"]] = None
    return table.iloc[::-1]


def write_run(cells, folder, tables, kind="h5"):
    """A run with a matrix and tables by the folder in which they are."""
    folder.mkdir(parents=True)
    matrix = folder / "filtered_feature_bc_matrix"
    write_ten_x(cells, matrix.with_suffix(".h5")) if kind == "h5" else write_market(cells, matrix)
    for name, table in tables.items():
        (folder / "cell_types" / name).mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "cell_types" / name / "cell_types.csv", index=False)
    return folder


@pytest.mark.parametrize("kind", ["h5", "market", "file of market", "multi"])
@pytest.mark.parametrize("of_model", ["", "Azimuth"])
def test_joined_by_barcode(cells, table, tmp_path, kind, of_model):
    run = write_run(cells, tmp_path / "outs", {of_model: table}, kind.split()[-1] if kind != "multi" else "h5")
    if kind == "multi":
        run = tmp_path / "multi"
        (run / "count").mkdir(parents=True)
        (tmp_path / "outs/filtered_feature_bc_matrix.h5").rename(run / "count/sample_filtered_feature_bc_matrix.h5")
        (tmp_path / "outs/cell_types").rename(run / "cell_types")
        (path,) = find_data_files([run / "count"])
    elif kind == "file of market":
        path = str(run / "filtered_feature_bc_matrix/matrix.mtx.gz")
    else:
        (path,) = find_data_files([run])
    file = DataFile(path, ["cellranger_coarse_cell_type", "cellranger_fine_cell_type", "cellranger_score"])
    expected = cells.obs["cell_type"].astype(object).to_numpy(copy=True)
    expected[[0, 1, 2, 5]] = None
    found = file.obs["cellranger_coarse_cell_type"].astype(object)
    assert [None if pd.isna(value) else value for value in found] == list(expected)
    assert file.obs["cellranger_fine_cell_type"].isna().tolist() == [True] * 3 + [False] * 37
    np.testing.assert_array_equal(file.obs["cellranger_score"], [np.nan] * 3 + [0.5] * 2 + [np.nan] + [0.5] * 34)
    (note,) = file.run_labels.notes
    assert "has labels of Cell Ranger for 37 of 40 cells, which are in `obs` as `cellranger_coarse_cell_type`," in note


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_written_copy(cells, table, tmp_path, suffix):
    (path,) = find_data_files([write_run(cells, tmp_path / "outs", {"": table})])
    file = DataFile(path)
    copy_data(file, tmp_path / f"a{suffix}")
    written = ad.read_h5ad(tmp_path / "a.h5ad") if suffix == ".h5ad" else ad.read_zarr(tmp_path / "a.zarr")
    assert list(written.obs) == ["cellranger_coarse_cell_type", "cellranger_fine_cell_type", "cellranger_score"]
    with pytest.warns(SctabWarning, match="has labels of Cell Ranger for 37 of 40 cells"):
        whole = read_data_file(path)
    pd.testing.assert_frame_equal(written.obs.astype(object), whole.obs.astype(object), check_index_type=False)
    assert list(written.obs["cellranger_coarse_cell_type"].cat.categories) == ["B cell", "T cell", "monocyte"]


def test_labels_of_two_models(cells, table, tmp_path):
    (path,) = find_data_files([write_run(cells, tmp_path / "outs", {"Azimuth": table, "10x_Cloud": table})])
    assert [name for name in DataFile(path).obs_columns if "coarse" in name] == [
        "cellranger_10x_cloud_coarse_cell_type",
        "cellranger_azimuth_coarse_cell_type",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cell,label\nACGT1-1,T cell\n", "was not used: it has no column `barcode`, and has `cell`, `label`."),
        ("barcode,label\nACGT1-1,T\nACGT1-1,B\n", "was not used: it names the barcode `ACGT1-1` more than once."),
        ("barcode,label\nTTTT-1,T\n", "was not used: it names none of the 40 barcodes of the matrix."),
        ("", "was not used: No columns to parse from file."),
        ('barcode,label\n"ACGT1-1,T\n', "was not used: "),
    ],
)
def test_tables_that_cannot_be_used(cells, table, tmp_path, text, says):
    """They are no reason to refuse the matrix."""
    run = write_run(cells, tmp_path / "outs", {"": table})
    (run / "cell_types/cell_types.csv").write_text(text)
    file = DataFile(find_data_files([run])[0])
    (note,) = file.run_labels.notes
    assert says in note
    assert file.obs_columns == []


def test_a_table_that_is_too_large(cells, table, tmp_path, monkeypatch):
    monkeypatch.setattr("sctab.io._run_labels._MOST_BYTES", 100)
    file = DataFile(find_data_files([write_run(cells, tmp_path / "outs", {"": table})])[0])
    assert "bytes, and at most 100 are read." in file.run_labels.notes[0]


def test_a_changed_table_is_another_input(cells, table, tmp_path):
    run = write_run(cells, tmp_path / "outs", {"": table})
    (path,) = find_data_files([run])
    before = DataFile(path).fingerprint()
    (run / "cell_types/cell_types.csv").write_text("barcode,label\nACGT1-1,T cell\n")
    assert DataFile(path).fingerprint() != before


@pytest.mark.parametrize(
    "path", ["s3://bucket/filtered_feature_bc_matrix.h5", "outs/matrix.h5", "outs/filtered_feature_bc_matrix.h5"]
)
def test_other_matrices_have_none(path):
    assert RunLabels.beside(path, 3, lambda _start, _stop: []) == RunLabels()
