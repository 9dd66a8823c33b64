"""Names, columns and parts of files in other formats."""

import numpy as np
import pandas as pd
import pytest

from sctab import DataFileError
from sctab.io._layout import CellColumns, choose_part, strings


def test_strings():
    assert strings(np.array([b"a", b"\xff"])) == ["a", "�"]
    assert strings(["b", "c"]) == ["b", "c"]


def test_columns():
    cells = CellColumns(np.array([b"A", b"C", b"G"]), {"n": np.array([1, 2, 3]), "type": np.array([b"T", b"B", b"T"])})
    assert (cells.n_rows, cells.columns, cells.names(1, 3)) == (3, ["n", "type"], ["C", "G"])
    assert cells.select(["type", "other"]).to_dict("list") == {"type": ["T", "B", "T"]}
    assert list(cells.select(["n"])["n"]) == [1, 2, 3]
    assert cells.select([]).shape == (3, 0)


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [(["prot", "RNA"], None, "RNA"), (["prot", "atac"], None, "prot"), (["prot", "rna"], "prot", "prot")],
)
def test_parts(names, wanted, expected):
    tables = {name: pd.DataFrame() for name in names}
    assert choose_part(tables, wanted, None, "a.h5mu", "modality") == expected
    assert choose_part(tables, wanted, max, "a.h5mu", "modality") == (wanted or max(names))


def test_a_part_that_is_missing():
    with pytest.raises(DataFileError, match="`a.h5mu` has no modality `rnb`. Did you mean `rna`.*Available: `prot`, `rna`"):
        choose_part({"prot": pd.DataFrame(), "rna": pd.DataFrame()}, "rnb", None, "a.h5mu", "modality")
