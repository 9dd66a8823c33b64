"""`sctab consensus`."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from typer.testing import CliRunner

import sctab
from sctab.cli import app

KEYS = ["a", "b"]


@pytest.fixture
def adata():
    obs = pd.DataFrame(
        {
            "a": pd.Categorical(["T cell", "B cell", "monocyte", None, "T cell"]),
            "b": ["CD4 T cells", "B cells", "CD8 T cells", "NK cells", np.nan],
            "empty": [None] * 5,
            "numbers": [0, 1, 2, 0, 1],
            "fractions": [0.5, np.nan, 1.5, 2.5, 1.0],
        },
        index=[f"c{i}" for i in range(5)],
    )
    return AnnData(sparse.csr_matrix((5, 2), dtype=np.float32), obs=obs)


class TestCommand:
    @pytest.fixture
    def path(self, adata, tmp_path):
        adata.obs = adata.obs.drop(columns=["empty"])
        adata.write_h5ad(tmp_path / "cells.h5ad")
        return tmp_path / "cells.h5ad"

    def test_tables_and_a_copy(self, path, adata, tmp_path):
        expected = sctab.tl.consensus(adata, KEYS, copy=True)
        outputs = {"--csv": "c.csv", "--labels-table": "l.parquet", "--output": "o.h5ad"}
        for chosen in (["--csv"], list(outputs)):
            arguments = [word for option in chosen for word in (option, str(tmp_path / outputs[option]))]
            done = CliRunner().invoke(app, ["consensus", str(path), "--key", "a", "--key", "b", "--overwrite", *arguments])
            assert done.exit_code == 0, done.output
            table = pd.read_csv(tmp_path / "c.csv", index_col=0)
            assert list(table.index) == list(adata.obs_names)
            assert table["sctab_agreement"].tolist() == expected.obs["sctab_agreement"].tolist()
            assert table["sctab_consensus"].isna().sum() == 1
        assert "conflict" in done.output
        assert len(pd.read_parquet(tmp_path / "l.parquet")) == 7
        copy = ad.read_h5ad(tmp_path / "o.h5ad")
        assert (
            copy.obs["sctab_consensus_id"].astype(object).dropna().tolist() == expected.obs["sctab_consensus_id"].dropna().tolist()
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--key", "a"], "`--key"),
            (["--key", "a", "--key", "z"], "not in `obs`"),
            (["--key", "a", "--key", "b", "--csv", "x.txt"], "neither `.csv` nor `.parquet`"),
            (["--key", "a", "--key", "b", "--output", "x.txt"], "neither `.h5ad` nor `.zarr`"),
        ],
    )
    def test_refusals(self, path, arguments, message):
        done = CliRunner().invoke(app, ["consensus", str(path), *arguments])
        assert done.exit_code == 2
        assert message in " ".join(done.output.split())
