"""Tables of labels, as pandas reads them again."""

import pandas as pd
import pytest

from sctab.io import open_table

READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


@pytest.mark.parametrize("suffix", READERS)
def test_rows_that_are_added_in_parts(tmp_path, suffix):
    cells = pd.Index(["a", "b, c", 'd"e'], name="cell")
    table = pd.DataFrame({"label": ["B cell", "γδ T cell", "B cell"], "confidence": [0.5, 1.0, 0.25]}, index=cells)
    path = tmp_path / f"labels{suffix}"
    with open_table(path, suffix) as written:
        for start, stop in ((0, 2), (2, 3)):
            written.add(table.iloc[start:stop])
    pd.testing.assert_frame_equal(READERS[suffix](path), table.reset_index(), check_dtype=False)
