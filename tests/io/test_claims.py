"""Arrays of HDF5 that claim more than is stored of them."""

import h5py
import numpy as np
import pytest

from sctab import DataFileError
from sctab.io._claims import claim_problem, require_claim

GB = 10**9


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file


@pytest.mark.parametrize(
    ("options", "is_plausible"),
    [
        ({"shape": (GB,), "dtype": "i1", "chunks": (1000,)}, False),
        ({"shape": (3, GB), "dtype": "f4", "chunks": (1, 1000)}, False),
        ({"shape": (GB,), "dtype": h5py.string_dtype(), "chunks": (1000,)}, False),
        ({"shape": (4,), "dtype": f"S{GB}", "chunks": (1,)}, False),
        ({"shape": (10**7,), "dtype": "f4", "chunks": (1000,)}, True),  # 40 MB of fill values do no harm
        ({"shape": (), "dtype": "f4"}, True),
        ({"data": np.zeros(3 * 10**7, "f4")}, True),
        ({"data": np.zeros(3 * 10**7, "f4"), "compression": "gzip"}, True),
    ],
    ids=str,
)
def test_what_is_plausible(file, options, is_plausible):
    array = file.create_dataset("a", **options)
    assert (claim_problem(array) is None) == is_plausible


def test_one_stored_piece_is_not_all(file):
    array = file.create_dataset("a", shape=(GB,), dtype="i1", chunks=(1000,))
    array[:1000] = 1
    with pytest.raises(
        DataFileError, match=r"^`x\.h5`: `a` claims 1\.0 GB with the shape \(1000000000,\) and the type int8, and 1,000 bytes are"
    ):
        require_claim(array, "a", "x.h5")


def test_parts_of_a_column(file):
    column = file.create_group("a")
    column["codes"] = np.zeros(3, "i1")
    assert claim_problem(column) is None
    column.create_dataset("categories", shape=(GB,), dtype=h5py.string_dtype(), chunks=(1000,))
    assert "claims 8.0 GB with the shape (1000000000,) and the type string" in claim_problem(column)


def test_others_claim_nothing():
    assert claim_problem(np.zeros(3)) is None
