import pytest

from sctab.errors import DataFileError, SettingError
from sctab.io._damage import explains_damage


def test_names_the_file():
    with (
        pytest.raises(DataFileError, match="`cells.h5ad` cannot be read as .h5ad: no such byte. It may be incomplete"),
        explains_damage("cells.h5ad"),
    ):
        raise OSError("no such byte\nand more")


def test_memory():
    with (
        pytest.raises(DataFileError, match="needs more memory than available: 9 TB. Use a larger machine"),
        explains_damage("a.h5ad"),
    ):
        raise MemoryError("9 TB")


def test_permission():
    with pytest.raises(DataFileError, match="may not be read. Change its permissions"), explains_damage("a.h5ad"):
        raise PermissionError("denied")


def test_own_errors_pass():
    with pytest.raises(SettingError, match="mine"), explains_damage("a.h5ad"):
        raise SettingError("mine")
