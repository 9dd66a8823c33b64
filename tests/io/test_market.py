"""Folders with a Matrix Market file against the matrix that was written to them."""

import gzip
import pickle

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, strategies as st
from scipy import sparse
from tests.formats import write_market, write_mtx

from sctab import DataFileError
from sctab.io import DataFile, RowReader, _market, read_data_file

LAYOUTS = ["v3", "v2", "star", "alevin"]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(query, tmp_path, layout, compressed):
    file = DataFile(write_market(query, tmp_path / "m", layout=layout, compressed=compressed))
    assert list(file.var.index) == list(query.var_names)
    assert file.names(2, 7) == list(query.obs_names[2:7])
    np.testing.assert_array_equal(RowReader(file.X).read(3, 200).toarray(), query.X[3:200].toarray())
    assert list(file.var) == {"v2": ["gene_ids"], "alevin": []}.get(layout, ["gene_ids", "feature_types"])


def test_as_scanpy_reads_it(query, tmp_path):
    path = write_market(query, tmp_path / "m")
    expected, adata = sc.read_10x_mtx(path), read_data_file(path)
    np.testing.assert_array_equal(adata.X.toarray(), expected.X.toarray())
    assert adata.var.to_dict("list") == expected.var.to_dict("list")
    assert list(adata.var_names) == list(expected.var_names)
    assert list(adata.obs_names) == list(expected.obs_names)


@pytest.mark.parametrize("order", ["cells", "genes", "none"])
def test_any_order_and_many_portions(query, tmp_path, order, monkeypatch):
    monkeypatch.setattr(_market, "_TEXT_AT_A_TIME", 1000)
    monkeypatch.setattr("sctab.io._pieces.ROWS", 37)
    rows = RowReader(DataFile(write_market(query, tmp_path / "m", order=order)).X)
    for start, stop in ((0, 300), (36, 38), (111, 250), (299, 300)):
        np.testing.assert_array_equal(rows.read(start, stop).toarray(), query.X[start:stop].toarray())


@given(st.data())
def test_what_scipy_writes(tmp_path_factory, data):
    n_obs, n_vars = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=n_obs * n_vars, max_size=n_obs * n_vars))
    matrix = np.reshape(drawn, (n_vars, n_obs))
    folder = tmp_path_factory.mktemp("m")
    stored = sparse.coo_matrix(matrix) if data.draw(st.booleans()) else sparse.coo_matrix(matrix.astype(float) / 2)
    write_mtx(stored, folder / "matrix.mtx", symmetry="general")
    (folder / "genes.tsv").write_text("".join(f"ENSG{i}\tG{i}\n" for i in range(n_vars)))
    (folder / "barcodes.tsv").write_text("\n".join(f"A{i}" for i in range(n_obs)))  # without an end of the last line
    file = DataFile(folder)
    np.testing.assert_array_equal(RowReader(file.X).read(0, n_obs).toarray(), stored.toarray().T)
    assert file.names(0, n_obs) == [f"A{i}" for i in range(n_obs)]


def test_a_prefix(query, tmp_path):
    folder = write_market(query, tmp_path / "m")
    for path in list(folder.iterdir()):
        path.rename(folder / f"GSM1_{path.name}")
    assert DataFile(folder).n_obs == DataFile(folder / "GSM1_matrix.mtx.gz").n_obs == 300
    (folder / "GSM2_matrix.mtx.gz").write_bytes(b"")
    with pytest.raises(DataFileError, match="holds several matrices: `GSM1_matrix.mtx.gz`, `GSM2_matrix.mtx.gz`. Provide the path"):
        DataFile(folder)


def test_it_can_be_sent_to_another_process(query, tmp_path):
    file = DataFile(write_market(query, tmp_path / "m"))
    again = pickle.loads(pickle.dumps(file))
    assert again.fingerprint() == file.fingerprint()
    np.testing.assert_array_equal(RowReader(again.X).read(0, 9).toarray(), query.X[:9].toarray())


def test_a_change_is_noticed(query, tmp_path):
    folder = write_market(query, tmp_path / "m", compressed=False)
    file = DataFile(folder)
    (folder / "barcodes.tsv").write_text((folder / "barcodes.tsv").read_text().replace("cell_1\n", "cell_X\n"))
    with pytest.raises(DataFileError, match="changed while it was read"):
        file.require_unchanged()


HEADER = "%%MatrixMarket matrix coordinate integer general\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must begin with `%%MatrixMarket matrix`, and does not"),
        ("%%MatrixMarket matrix array real general\n", "must be `coordinate`, .*and is `array real general`"),
        ("%%MatrixMarket matrix coordinate pattern general\n2 3 1\n1 1\n", "and is `coordinate pattern general`"),
        ("%%MatrixMarket matrix coordinate integer symmetric\n2 2 1\n1 1 1\n", "and is `coordinate integer symmetric`"),
        (HEADER + "2 3\n", "must give the numbers of its rows, columns and values in a line, and has `2 3`"),
        (HEADER + "2 -3 1\n1 1 1\n", "and has `2 -3 1`"),
        (HEADER + "2 3 7\n", "cannot have 7 values in 2 rows and 3 columns"),
        (
            HEADER + "3 3 1\n1 1 1\n",
            "must have a row for each of the 2 features and a column for each of the 3 barcodes.*3 rows and 3 columns",
        ),
        (HEADER + "2 3 2\n1 1 5\n", "must have 2 values, as its header says, and has 1"),
        (HEADER + "2 3 1\n1 1 5\n2 2 5\n", "must have 1 values, as its header says, and has more"),
        (HEADER + "2 3 1\n3 1 5\n", "invalid value after the first 0: .*out of bounds"),
        (HEADER + "2 3 1\n0 1 5\n", "invalid value after the first 0"),
        (HEADER + "2 3 1\n1 -1 5\n", "invalid value after the first 0"),
        (HEADER + "2 3 1\n1 1 x\n", "invalid value after the first 0"),
        (HEADER + "2 3 1\n1 1\n", "invalid value after the first 0"),
        (HEADER.replace("integer", "real") + "2 3 1\n1 1 nan\n", "must hold finite values"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_matrices(tmp_path, text, says, compressed):
    (tmp_path / "genes.tsv").write_text("ENSG1\tA\nENSG2\tB\n")
    (tmp_path / "barcodes.tsv").write_text("A\nC\nG\n")
    path = tmp_path / ("matrix.mtx.gz" if compressed else "matrix.mtx")
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    with pytest.raises(DataFileError, match=f"matrix.mtx.*{says}.*copy (?:or export it|them) again"):
        RowReader(DataFile(tmp_path).X).read(0, 3)


@pytest.mark.parametrize("name", ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"])
def test_gzip_that_is_cut_off(query, tmp_path, name):
    folder = write_market(query, tmp_path / "m")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataFileError, match=f"{name}` is cut off: its compressed text has no end"):
        RowReader(DataFile(folder).X).read(0, 3)


def test_gzip_that_is_damaged(query, tmp_path):
    path = write_market(query, tmp_path / "m") / "matrix.mtx.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"matrix.mtx.gz` (?:cannot be unpacked|has an invalid value|must have)"):
        RowReader(DataFile(tmp_path / "m").X).read(0, 3)


def test_names_that_are_missing(query, tmp_path):
    folder = write_market(query, tmp_path / "m")
    (folder / "barcodes.tsv.gz").unlink()
    with pytest.raises(DataFileError, match="needs the names of its barcodes beside it, in `barcodes.tsv`, plain or compressed"):
        DataFile(folder)


def test_spliced_counts_apart(query, tmp_path):
    folder = write_market(query, tmp_path / "m", layout="alevin", compressed=False)
    names = [f"{gene}{kind}" for kind in ("", "-U", "-A") for gene in query.var_names[:20]]
    (folder / "quants_mat_cols.txt").write_text("\n".join(names))
    with pytest.raises(DataFileError, match="names 20 genes three times.*pyroe.load_fry"):
        DataFile(folder)


def test_too_little_space(query, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("sctab.io._market.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataFileError, match="GB of temporary space.*Set the environment variable `TMPDIR`"):
        RowReader(DataFile(write_market(query, tmp_path / "m")).X).read(0, 3)


@pytest.mark.parametrize(("compressed", "n_values"), [(False, 10**5), (False, 10**14), (True, 10**14)])
def test_a_header_that_promises_more_than_the_file_can_hold(tmp_path, compressed, n_values, monkeypatch):
    """No space is sought for it, and the disk is not blamed."""
    monkeypatch.delattr(_market.MarketRows, "__getitem__")
    folder = tmp_path / "m"
    folder.mkdir()
    n = 2**24
    text = f"%%MatrixMarket matrix coordinate integer general\n{n} {n} {n_values}\n1 1 1\n".encode()
    (folder / ("matrix.mtx.gz" if compressed else "matrix.mtx")).write_bytes(gzip.compress(text) if compressed else text)
    (folder / "features.tsv").write_text("A\tB\n")
    (folder / "barcodes.tsv").write_text("A\n")
    with pytest.raises(DataFileError, match=rf"cannot hold the {n_values:,} values that its header promises in [0-9]+ bytes"):
        DataFile(folder)


def test_a_header_that_promises_a_large_matrix(tmp_path):
    """Its names are as many as the files beside it have."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n{2**31 - 1} {2**31 - 1} 1\n1 1 1\n")
    (folder / "features.tsv").write_text("A\tB\n")
    (folder / "barcodes.tsv").write_text("A\n")
    with pytest.raises(DataFileError, match=r"must have a row for each of the 1 features .*and has 2,147,483,647 rows"):
        DataFile(folder)
