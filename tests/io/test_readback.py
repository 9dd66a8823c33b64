"""What was written is compared with what was found before it counts."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr

from sctab import OutputError
from sctab.io._label_tables import open_table
from sctab.io._readback import check_copy, check_table

NAMES = ["a", "=b", "c,\n", "d", "d"]
LABELS = ["T cell", None, "-x", "T cell", "B"]
TYPES = ["B", "T cell", "-x"]
CODES = np.array([1, -1, 2, 1, 0], dtype=np.int32)


def blocks(names=NAMES, labels=LABELS):
    return [(names[:2], labels[:2]), (names[2:], labels[2:])]


@pytest.fixture(params=[".csv", ".parquet"])
def table(request, tmp_path):
    path = tmp_path / f"labels{request.param}"
    with open_table(path, path.suffix) as written:
        for names, labels in blocks():
            written.add(pd.DataFrame({"sctab_label": pd.Categorical(labels, categories=TYPES)}, index=names))
    return path


class TestTables:
    def test_right(self, table):
        check_table(table, table, "sctab_label", blocks())

    @pytest.mark.parametrize(
        ("names", "labels"),
        [
            (["a", "=b", "d", "c,\n", "d"], LABELS),
            (["a", "=b", "c,\n", "d", "e"], LABELS),
            (NAMES, ["T cell", "B", "-x", "T cell", "B"]),
            (NAMES, ["T cell", None, "B", "T cell", "B"]),
            (NAMES[:-1], LABELS[:-1]),
            ([*NAMES, "e"], [*LABELS, None]),
        ],
    )
    def test_wrong(self, table, names, labels):
        with pytest.raises(OutputError, match=r"`out` was written but cannot be read back: row \d differs"):
            check_table(table, "out", "sctab_label", blocks(names, labels))

    def test_no_such_column(self, table):
        with pytest.raises(OutputError, match="cannot be read back"):
            check_table(table, table, "other_label", blocks())


@pytest.fixture(params=[".h5ad", ".zarr"])
def copy(request, tmp_path):
    path = tmp_path / f"cells{request.param}"
    obs = pd.DataFrame({"sctab_label": pd.Categorical.from_codes(CODES, categories=TYPES)}, index=list("abcde"))
    adata = ad.AnnData(np.ones((5, 2), dtype=np.float32), obs=obs)
    (adata.write_h5ad if request.param == ".h5ad" else adata.write_zarr)(path)
    return path


class TestCopies:
    def check(self, copy, *, names=(list("ab"), list("cde")), labels=TYPES, codes=CODES):
        check_copy(copy, "out", "sctab_label", names, labels, codes)

    def test_right(self, copy):
        self.check(copy)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"names": (list("ba"), list("cde"))}, "cells 0 to 2 are not those that were annotated"),
            ({"names": (list("ab"), list("cd"))}, "it has 5 cells"),
            ({"names": (list("ab"), list("cdef"))}, "cells 2 to 6 are not"),
            ({"labels": ["T cell", "B", "-x"]}, r"`obs\['sctab_label'\]` differs"),
            ({"codes": CODES[::-1]}, r"`obs\['sctab_label'\]` differs"),
        ],
    )
    def test_wrong(self, copy, values, message):
        with pytest.raises(OutputError, match=f"`out` was written but cannot be read back: {message}"):
            self.check(copy, **values)

    def test_damaged(self, copy):
        root = h5py.File(copy, "r+") if copy.suffix == ".h5ad" else zarr.open_group(copy, mode="r+", use_consolidated=False)
        del root["obs/sctab_label"]
        if copy.suffix == ".h5ad":
            root.close()
        with pytest.raises(OutputError, match="cannot be read back"):
            self.check(copy)
