"""Results of a benchmark, as its directory holds them."""

import pytest

from sctab import DataFileError
from sctab.benchmark import read_results


def test_there_must_be_a_benchmark(tmp_path):
    with pytest.raises(DataFileError, match="holds no benchmark"):
        read_results(tmp_path)
