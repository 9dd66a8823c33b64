import warnings
from contextlib import closing

import h5py
import numpy as np
import pytest
from anndata.io import write_elem
from tests.cite_seq import as_mudata, cite_seq

from sctab.errors import DataFileError
from sctab.io import DataFile, _mudata
from sctab.io._mudata import ReorderedRows


def write(mdata, path):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        mdata.write(path)
    return path


def opened(path, keys=()):
    return closing(DataFile(path, keys, modality="rna", beside=lambda tables, read: next(name for name in tables if name != read)))


def rows_of(file):
    return np.concatenate([file.beside.matrix[start : start + 7] for start in range(0, file.n_obs, 7)])


def dense(block):
    return block.toarray() if hasattr(block, "toarray") else np.asarray(block)


class TestBeside:
    def test_same_cells(self, tmp_path):
        mdata = cite_seq(20)
        with opened(write(mdata, tmp_path / "a.h5mu")) as file:
            assert (file.beside.name, file.beside.matrix_name) == ("prot", "mod['prot'].X")
            assert list(file.beside.var.index) == list(mdata["prot"].var_names)
            np.testing.assert_array_equal(dense(file.beside.matrix[3:8]), mdata["prot"].X[3:8].toarray())
            assert file.fingerprint()["beside"] == "prot"

    @pytest.mark.parametrize("size", [2, 8192])
    @pytest.mark.parametrize("is_dense", [True, False])
    @pytest.mark.parametrize("keep", ["all", "some", "reversed", "permuted", "other"])
    def test_other_cells(self, tmp_path, monkeypatch, keep, is_dense, size):
        monkeypatch.setattr(_mudata, "_ROWS_AT_A_TIME", size)
        whole = cite_seq(30)
        cells = {
            "all": np.arange(30),
            "some": np.arange(0, 30, 3),
            "reversed": np.arange(30)[::-1],
            "permuted": np.random.default_rng(0).permutation(30)[:22],
            "other": np.arange(25, 30),
        }[keep]
        prot = whole["prot"][cells].copy()
        if is_dense:
            prot.X = prot.X.toarray()
        rna = whole["rna"][:24].copy()
        with opened(write(as_mudata(prot=prot, rna=rna), tmp_path / "a.h5mu")) as file:
            expected = np.full((24, 6), np.nan)
            for row in set(cells) & set(range(24)):
                expected[row] = whole["prot"].X[row].toarray()
            np.testing.assert_array_equal(rows_of(file) if keep != "all" else dense(file.beside.matrix[0:24]), expected)

    def test_names_that_occur_twice_are_matched_as_the_file_says(self, tmp_path):
        path = write(cite_seq(6), tmp_path / "a.h5mu")
        names = np.array(["a", "a", "b", "c", "d", "e"], dtype=object)
        with h5py.File(path, "r+") as root:
            for place, order in (("obs", range(6)), ("mod/rna/obs", range(6)), ("mod/prot/obs", range(5, -1, -1))):
                del root[place]["_index"]
                write_elem(root[place], "_index", names[list(order)])
            root["obsmap/prot"][:] = np.arange(6, 0, -1)
        with opened(path) as file:
            np.testing.assert_array_equal(file.cells.rows_in("prot"), np.arange(6)[::-1])
        with h5py.File(path, "r+") as root:
            del root["obsmap"]
        with pytest.raises(DataFileError, match="occur more than once in .*obs_names_make_unique"):
            opened(path)


class TestColumns:
    def test_of_the_mudata_first(self, tmp_path):
        whole = cite_seq(9)
        rna = whole["rna"][3:].copy()
        rna.obs["phase"], rna.obs["donor"] = "G1", "wrong"
        mdata = as_mudata(prot=whole["prot"][::-1].copy(), rna=rna)
        mdata.obs["donor"] = [f"of {name}" for name in mdata.obs_names]
        with opened(write(mdata, tmp_path / "a.h5mu"), ["phase", "donor"]) as file:
            assert {"donor", "phase"} <= set(file.obs_columns)
            assert list(file.obs["donor"]) == [f"of {name}" for name in rna.obs_names]
            assert list(file.obs["phase"]) == ["G1"] * 6
            assert list(file.obs) == ["phase", "donor"]
            assert file.names(0, 2) == ["cell3", "cell4"]
            assert (file.cells.n_all, file.cells.names_of_all(0, 1)) == (9, ["cell8"])
            assert file.cells.rows_in_all.tolist() == [5, 4, 3, 2, 1, 0]

    def test_without_columns_of_its_own(self, tmp_path):
        path = write(cite_seq(4), tmp_path / "a.h5mu")
        with h5py.File(path, "r+") as root:
            del root["obs"]
        with opened(path) as file:
            assert file.cells.rows_in_all is None
            assert file.cells.n_all == 4


def test_reordered_rows_reach_far():
    values = np.arange(40.0).reshape(20, 2)
    rows = ReorderedRows(values, "X", np.array([0, -1, 9, 19]))
    np.testing.assert_array_equal(rows[0:4], [[0, 1], [np.nan, np.nan], [18, 19], [38, 39]])
    assert rows.remark("X") == ""


@pytest.mark.parametrize("rows", [np.arange(0, 400, 20), np.random.default_rng(0).permutation(400)[:50]])
def test_few_rows_are_in_memory_at_a_time(rows, monkeypatch):
    monkeypatch.setattr(_mudata, "_ROWS_AT_A_TIME", 30)
    sizes, read = [], _mudata.RowReader.read
    monkeypatch.setattr(
        _mudata.RowReader, "read", lambda self, start, stop: (sizes.append(stop - start), read(self, start, stop))[1]
    )
    values = np.random.default_rng(1).random((400, 3)).astype(np.float32)
    found = ReorderedRows(values, "X", rows)
    np.testing.assert_array_equal(np.concatenate([found[0:7], found[7:60]]), values[rows])
    assert max(sizes) <= 30
