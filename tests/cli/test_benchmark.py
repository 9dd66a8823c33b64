"""`sctab benchmark` on the command line."""

import pandas as pd
import pytest
import yaml
from tests.reference import make_reference
from typer.testing import CliRunner

from sctab.cli._benchmark import benchmark_app

runner = CliRunner()


@pytest.fixture
def config(tmp_path):
    """A benchmark with one run, and a peer that cannot be installed."""
    make_reference().write_h5ad(tmp_path / "cells.h5ad")
    task = {"name": "halves", "reference": "cells.h5ad", "labels_key": "cell_type", "split": "random", "test_share": 0.5}
    broken = {"name": "celltypist", "label": "broken", "requirements": ["no-such-package==0"]}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"tasks": [task], "peers": ["logistic_regression", broken], "seeds": [0]}), encoding="utf-8")
    return path


def test_run_and_report(config, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(benchmark_app, ["run", str(config), "--jobs", "1", "--environments", str(tmp_path / "environments")])
    assert done.exit_code == 0, done.output
    assert "halves, logistic_regression, seed 0: done" in done.output
    assert "no-such-package" in done.output
    directory = tmp_path / "small-benchmark"
    report = (directory / "report.md").read_text(encoding="utf-8")
    assert "| logistic_regression | **" in report
    figures = sorted(path.name for path in (directory / "figures").iterdir())
    assert figures == ["confusion.svg", "models.svg", "types.svg"]
    assert all(f"](figures/{name})" in report for name in figures)
    assert set(pd.read_parquet(directory / "results.parquet")["metric"]) >= {
        "accuracy",
        "macro_f1",
        "weighted_f1",
        "cross_entropy",
        "ece",
    }

    (directory / "report.md").unlink()
    again = runner.invoke(benchmark_app, ["report", str(directory)])
    assert again.exit_code == 0
    assert (directory / "report.md").read_text(encoding="utf-8") == report


def test_refusals_are_one_paragraph(tmp_path):
    done = runner.invoke(benchmark_app, ["run", str(tmp_path / "none.yaml")])
    assert done.exit_code == 2
    assert "none.yaml` cannot be read" in done.output
    done = runner.invoke(benchmark_app, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no benchmark" in done.output
