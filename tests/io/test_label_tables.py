"""Tables of labels, as pandas reads them again."""

import pandas as pd
import pytest

from sctab import OutputExistsError
from sctab.io import check_run_file, open_table, run_file_of, run_of_table, write_run_file

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


@pytest.mark.parametrize("suffix", READERS)
def test_the_run_of_a_table(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    with open_table(path, suffix, run="a hash") as written:
        written.add(pd.DataFrame({"label": ["B cell"]}, index=["a"]))
    if suffix == ".csv":
        assert run_of_table(path) is None
        write_run_file(run_file_of(path), path, "a hash")
    assert run_of_table(path) == "a hash"


class TestRunFile:
    @pytest.fixture
    def table(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text("cell,label\na,B cell\n")
        write_run_file(run_file_of(path), path, "a hash")
        return path

    def test_belongs_to_the_content(self, table):
        assert run_file_of(table).name == ".labels.csv.sctab-run"
        check_run_file(table)
        table.write_text("cell,label\na,T cell\n")
        assert run_of_table(table) is None
        check_run_file(table)

    @pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '{"format": "sctab-table-run"}', "\ud800"])
    def test_what_is_damaged_or_foreign_is_not_read(self, table, content):
        run_file_of(table).write_bytes(content.encode(errors="surrogatepass"))
        assert run_of_table(table) is None
        with pytest.raises(OutputExistsError, match="was not written by `sctab`"):
            check_run_file(table)

    def test_a_changed_one_is_not_read(self, table):
        path = run_file_of(table)
        path.write_text(path.read_text().replace("a hash", "another"))
        assert run_of_table(table) is None
