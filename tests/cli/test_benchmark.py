"""`sctab benchmark` on the command line."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from tests.reference import make_reference
from typer.testing import CliRunner

from sctab.cli._benchmark import benchmark_app

runner = CliRunner()
OFFLINE = {"name": "logistic_regression", "label": "regression, balanced", "requirements": []}


@pytest.fixture
def config(tmp_path):
    """A benchmark with one run, and a peer that cannot be installed."""
    make_reference().write_h5ad(tmp_path / "cells.h5ad")
    task = {"name": "halves", "reference": "cells.h5ad", "labels_key": "cell_type", "split": "random", "test_fraction": 0.5}
    task["subset"] = {"by": "cell", "fractions": [0.5], "models": [OFFLINE["label"]]}
    broken = {"name": "celltypist", "label": "broken", "requirements": ["no-such-package==0"]}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"tasks": [task], "peers": [OFFLINE, broken], "seeds": [0]}), encoding="utf-8")
    return path


def read_manifest(directory):
    """The runs of a benchmark, as its file has them."""
    return json.loads((directory / "benchmark.json").read_text(encoding="utf-8"))["runs"]


def test_run_and_report(config, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(benchmark_app, ["run", str(config), "--jobs", "1", "--environments", str(tmp_path / "environments")])
    assert done.exit_code == 0, done.output
    assert "halves, regression, balanced, seed 0: done" in done.output
    assert "no-such-package" in done.output
    directory = tmp_path / "small-benchmark"
    report = (directory / "report.md").read_text(encoding="utf-8")
    assert "| regression, balanced | **" in report
    figures = sorted(path.name for path in (directory / "figures").iterdir())
    scaling = ["scaling_by_cell_cross_entropy.svg", "scaling_by_cell_macro_f1.svg"]
    assert figures == ["confusion_regression_balanced.svg", "models.svg", *scaling, "types_regression_balanced.svg"]
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

    runs = {run["fraction"]: directory / "runs" / run["key"] for run in read_manifest(directory) if run["state"] == "done"}
    for fraction, shown in ((1.0, ["## Scaling by cells: Macro F1"]), (0.5, [])):  # only a part has a result, then nothing has
        shutil.rmtree(runs[fraction])
        less = runner.invoke(benchmark_app, ["report", str(directory)])
        assert less.exit_code == 0, less.output
        report = (directory / "report.md").read_text(encoding="utf-8")
        assert [
            line for line in report.splitlines() if line in {"## Scaling by cells: Macro F1", "## Comparison of models"}
        ] == shown


def test_refusals_are_one_paragraph(tmp_path):
    done = runner.invoke(benchmark_app, ["run", str(tmp_path / "none.yaml")])
    assert done.exit_code == 2
    assert "none.yaml` cannot be read" in done.output
    done = runner.invoke(benchmark_app, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no benchmark" in done.output
