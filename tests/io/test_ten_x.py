"""Matrices of 10x Genomics against what scanpy reads of them, and damaged ones."""

import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from tests.formats import plant_claim, write_ten_x, write_ten_x_v2

from sctab import DataFileError
from sctab.io import DataFile, RowReader, read_data_file

pytestmark = pytest.mark.filterwarnings("ignore:Variable names are not unique")


@pytest.fixture
def cells(query):
    """Counts of genes and antibodies, with ids in `gene_ids` as Cell Ranger names them."""
    cells = AnnData(query.X.copy(), obs=pd.DataFrame(index=[f"ACGT{i}-1" for i in range(query.n_obs)]))
    cells.var_names = [*query.var_names[:-2], "CD3_TotalSeqB", query.var_names[0]]  # an antibody, and a symbol that occurs twice
    cells.var["gene_ids"] = [*query.var["ensembl_id"][:-2], "CD3_TotalSeqB", query.var["ensembl_id"].iloc[-1]]
    cells.var["feature_types"] = ["Gene Expression"] * (cells.n_vars - 2) + ["Antibody Capture", "Gene Expression"]
    return cells


@pytest.mark.parametrize("version", [2, 3])
def test_as_scanpy_reads_it(cells, tmp_path, version):
    path = tmp_path / "filtered_feature_bc_matrix.h5"
    write_ten_x(cells, path) if version == 3 else write_ten_x_v2({"GRCh38": cells}, path)
    expected = sc.read_10x_h5(path, gex_only=False)
    file, adata = DataFile(path), read_data_file(path)
    assert file.modality is None
    assert (file.n_obs, file.n_vars) == expected.shape
    assert file.names(2, 7) == list(expected.obs_names[2:7])
    np.testing.assert_array_equal(RowReader(file.X).read(3, 200).toarray(), expected.X[3:200].toarray())
    assert set(file.var) == {"gene_ids", "genome"} | ({"feature_types"} if version == 3 else set())
    for column in expected.var:
        assert list(file.var[column]) == list(expected.var[column])
    assert list(file.var.index) == list(expected.var_names)
    np.testing.assert_array_equal(adata.X.toarray(), expected.X.toarray())
    assert list(adata.obs_names) == list(expected.obs_names)
    assert adata.X.dtype == np.float32


def test_genomes(cells, tmp_path):
    mouse = cells[:30].copy()
    mouse.var_names = [name.title() for name in mouse.var_names]
    path = write_ten_x_v2({"hg19": cells, "mm10": mouse}, tmp_path / "both.h5")
    assert DataFile(path).modality == "hg19"
    file = DataFile(path, modality="mm10")
    assert (file.modality, file.modalities, file.n_obs) == ("mm10", ["hg19", "mm10"], 30)
    np.testing.assert_array_equal(RowReader(file.X).read(0, 30).toarray(), mouse.X.toarray())
    assert DataFile(path, choose=max).modality == "mm10"
    assert file.fingerprint() != DataFile(path).fingerprint()
    with pytest.raises(DataFileError, match="has no genome `mm9`. Available: `hg19`, `mm10`"):
        DataFile(path, modality="mm9")


def replaced(path, name, values):
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (
            "matrix/barcodes",
            np.array([b"A", b"C"]),
            "`matrix/shape` must be the numbers of features and of barcodes, 60 and 2, and is",
        ),
        ("matrix/shape", np.array([60, -5]), r"60 and 300, and is \[60, -5\]"),
        ("matrix/features/name", np.array([b"A"]), "`matrix/features/name` must have 60 entries, and has the shape"),
        ("matrix/features/id", None, "must have the array `matrix/features/id`"),
        ("matrix/data", None, "`data` must be there, as an array"),
        ("matrix/indptr", np.arange(4), "`indptr` must have 301 entries"),
        ("matrix/data", np.array([1, 2]), "the same length"),
    ],
)
def test_arrays_that_do_not_belong_together(cells, tmp_path, name, values, says):
    path = write_ten_x(cells, tmp_path / "a.h5")
    replaced(path, name, values)
    with pytest.raises(DataFileError, match=says):
        DataFile(path)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("matrix/indices", lambda v: np.where(np.arange(len(v)) == 7, 60, v), "`indices` must lie between 0 and 59, and one is 60"),
        ("matrix/indices", lambda v: np.where(np.arange(len(v)) == 7, -1, v), "`indices` must lie between 0 and 59, and one is -1"),
        ("matrix/indptr", lambda v: np.where(np.arange(len(v)) == 3, 10**6, v), "`indptr` must never fall"),
        ("matrix/indptr", lambda v: np.where(np.arange(len(v)) == 300, v[-1] - 1, v), "must end at the number of stored values"),
    ],
)
def test_hostile_indices(cells, tmp_path, name, change, says):
    path = write_ten_x(cells, tmp_path / "a.h5")
    with h5py.File(path) as file:
        values = change(file[name][:])
    replaced(path, name, values)
    with pytest.raises(DataFileError, match=f"a.h5`: `X`.*{says}.*copy or export it again"):
        RowReader(DataFile(path).X).read(0, 300)


def test_a_file_that_ends_too_early(cells, tmp_path):
    path = write_ten_x(cells, tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataFileError, match="is incomplete: it has 4,000 of"):
        DataFile(path)


def test_an_anndata_by_another_name(query, tmp_path):
    query.write_h5ad(tmp_path / "a.h5")
    assert DataFile(tmp_path / "a.h5").n_obs == query.n_obs


def test_without_shape(cells, tmp_path):
    path = write_ten_x(cells, tmp_path / "a.h5")
    replaced(path, "matrix/shape", None)
    assert sparse.issparse(read_data_file(path).X)


@pytest.mark.parametrize("version", [2, 3])
def test_a_genome_that_is_not_there(cells, tmp_path, version):
    """One genome is used where it is asked for, and no other is."""
    path = tmp_path / "a.h5"
    write_ten_x(cells, path) if version == 3 else write_ten_x_v2({"GRCh38": cells}, path)
    (genome,) = set(DataFile(path).var["genome"])
    assert DataFile(path, modality=genome).n_obs == cells.n_obs
    with pytest.raises(DataFileError, match="has no genome `mm10`"):
        DataFile(path, modality="mm10")


@pytest.mark.parametrize("version", [2, 3])
def test_claimed_features_are_not_read(cells, tmp_path, version):
    """A small file that states many features, of which none is stored."""
    path = tmp_path / "a.h5"
    write_ten_x(cells, path) if version == 3 else write_ten_x_v2({"GRCh38": cells}, path)
    with h5py.File(path, "a") as file:
        group = file["matrix/features"] if version == 3 else file["GRCh38"]
        for name in ("id", "name") if version == 3 else ("genes", "gene_names"):
            del group[name]
            group.create_dataset(name, shape=(10**9,), dtype="S1", chunks=(10**6,))
    with pytest.raises(DataFileError, match="missing"):
        DataFile(path)


@pytest.mark.parametrize("name", ["barcodes", "features/feature_type", "features/Note"])
def test_a_column_that_claims_a_size_that_it_cannot_have(cells, tmp_path, name):
    n = cells.n_obs if name == "barcodes" else cells.n_vars
    path = plant_claim(write_ten_x(cells, tmp_path / "a.h5"), f"matrix/{name}", (n,), "S1000000000")
    with pytest.raises(DataFileError, match=rf"`matrix/{name}` claims {n}\.0 GB with the shape \({n},\)"):
        DataFile(path)
