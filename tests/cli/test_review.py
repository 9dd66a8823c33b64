"""`sctab review`."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tests.types_of_cells import cells_of
from typer.testing import CliRunner

import sctab
from sctab.cli import app

WRONG = np.arange(3, 300, 30)
NAMES = ["B cell", "T cell", "monocyte"]


@pytest.fixture(scope="module")
def cells():
    """Cells of three types, of which every thirtieth has the label of the next type."""
    codes = np.arange(300) % 3
    adata = cells_of(codes, seed=3)
    given = codes.copy()
    given[WRONG] = (given[WRONG] + 1) % 3
    adata.obs["given"] = pd.Categorical(np.array(NAMES)[given])
    adata.obs["cluster"] = pd.Categorical(codes.astype(str))
    return adata


class TestCommand:
    def test_tables(self, cells, tmp_path):
        cells.write_h5ad(tmp_path / "cells.h5ad")
        outputs = {"--csv": "c.csv", "--pairs-table": "p.parquet", "--groups-table": "g.csv", "--output": "o.h5ad"}
        arguments = [word for option, name in outputs.items() for word in (option, str(tmp_path / name))]
        done = CliRunner().invoke(
            app, ["review", str(tmp_path / "cells.h5ad"), "--labels-key", "given", "--groups", "cluster", *arguments]
        )
        assert done.exit_code == 0, done.output
        expected = sctab.tl.review(cells, "given", groups="cluster", copy=True)
        assert pd.read_csv(tmp_path / "c.csv")["cell"].tolist() == sctab.get.review(expected)["cell"].tolist()
        assert len(pd.read_parquet(tmp_path / "p.parquet")) == len(sctab.get.review(expected, "pairs"))
        assert len(pd.read_csv(tmp_path / "g.csv")) == 3
        assert ad.read_h5ad(tmp_path / "o.h5ad").obs["sctab_is_suspect"].sum() == expected.obs["sctab_is_suspect"].sum()
        assert "are suspect" in done.output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--groups-table", "x.csv"], "`--groups-table` needs `--groups`"),
            (["--csv", "x.txt"], "neither `.csv` nor `.parquet`"),
            (["--model", "pbmc", "--annotation-key", "a"], "either `--model` or `--annotation-key`"),
            (["--groups", "nope"], "`--groups nope` is not in `obs`"),
        ],
    )
    def test_refusals(self, cells, tmp_path, arguments, message):
        cells.write_h5ad(tmp_path / "cells.h5ad")
        done = CliRunner().invoke(app, ["review", str(tmp_path / "cells.h5ad"), "--labels-key", "given", *arguments])
        assert done.exit_code == 2
        assert message in " ".join(done.output.split())
