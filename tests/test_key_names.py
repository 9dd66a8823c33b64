"""Names under which results are written."""

import anndata as ad
import numpy as np
import pytest

from sctab import SettingError
from sctab.keys import check_key_added


@pytest.mark.parametrize(
    "key", ["", " ", ".", "..", "a/b", "/", "../a", "a\0b", "a\nb", "\x1b[2J", "k" * 201, "\ud800", "α" * 101, None, 3, ["sctab"]]
)
def test_no_names(key):
    with pytest.raises(SettingError, match=r"`key_added=.*cannot be the name of something in a file"):
        check_key_added(key)


@pytest.mark.parametrize("key", ["sctab", "pbmc v2", "α", "a.b", "-x", "a|b", "k" * 200])
def test_names_that_files_can_hold(key, tmp_path):
    check_key_added(key)
    adata = ad.AnnData(np.zeros((2, 1), dtype=np.float32), uns={key: {"a": 1}}, obsm={f"X_{key}": np.ones((2, 1))})
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for found in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        assert list(found.uns) == [key]
        assert list(found.obsm) == [f"X_{key}"]


def test_a_column_that_is_read_is_not_replaced():
    check_key_added("scdeepcluster", labels_key="cell_type", batch_key=None)
    with pytest.raises(SettingError, match="`key_added='cell_type'` is the column of `labels_key`, which is not replaced"):
        check_key_added("cell_type", labels_key="cell_type")
