"""Results in a file, without the matrices."""

import numpy as np
import pytest
from tests.annotated import annotated

from sctab.io import DataFile, read_results


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_only_what_is_asked_for(tmp_path, suffix):
    adata = annotated(n_without=2)
    adata.uns["donor_colors"] = ["#000000", "#ffffff"]
    adata.uns["other"] = {"large": np.zeros(9)}
    path = tmp_path / f"cells{suffix}"
    (adata.write_h5ad if suffix == ".h5ad" else adata.write_zarr)(path)
    file = DataFile(path)
    found = read_results(file, obs=["sctab_label", "donor", "gone"], obsm=["X_umap", "gone"], uns=["sctab", "donor"])
    file.close()
    assert list(found.obs) == ["sctab_label", "donor"]
    assert found.obs["sctab_label"].tolist()[:3] == ["B cell"] * 3
    assert found.obs["sctab_label"].isna().sum() == 2
    assert set(found.uns) == {"sctab", "donor_colors"}
    assert list(found.obsm) == ["X_umap"]
    np.testing.assert_array_equal(found.obsm["X_umap"], adata.obsm["X_umap"])
    assert found.n_vars == 0
