"""The benchmark of accelerators runs on the CPU at a small size, and goes on where a measurement fails."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch


@pytest.fixture(scope="module")
def results(repository, tmp_path_factory):
    """Rows of a small run, by part."""
    output = tmp_path_factory.mktemp("accelerator")
    command = [sys.executable, "benchmarks/accelerator.py", "--toy", "--together", "--accelerator", "cpu", "--output", output]
    done = subprocess.run(command, cwd=repository, env=os.environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((output / "accelerator.json").read_text("utf-8"))["rows"]
    assert (output / "accelerator.md").read_text("utf-8").count("\n| ") == len(rows) + 2
    return rows


@pytest.fixture
def accelerator(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return importlib.import_module("accelerator")


@pytest.fixture
def bench(accelerator, tmp_path):
    return accelerator.Bench("training", tmp_path, accelerator.TOY, torch.device("cpu"), 60, tmp_path / "rows.jsonl")


class TestSmallRun:
    def test_nothing_fails(self, results):
        assert [row for row in results if "failed" in row["note"]] == []

    def test_the_device_is_compared_with_the_cpu(self, results):
        verdicts = {row["measurement"]: row["agrees"] for row in results if row["agrees"] is not None}
        assert set(verdicts.values()) == {True}
        assert {"one model: evaluator, float32", "one model: dense network, float32", "losses of three training steps"} <= set(
            verdicts
        )
        assert any("ensemble" in name for name in verdicts)

    @pytest.mark.parametrize("part", ["evaluation", "training", "trainer", "corpus", "boosting"])
    def test_every_part_measures_speed(self, results, part):
        speeds = [row["speeds"] for row in results if row["part"] == part and row["speeds"]]
        assert speeds
        assert all(speed > 0 for row in speeds for speed in row)


class TestFailures:
    def test_a_measurement_that_fails_is_a_row_and_the_next_one_is_made(self, accelerator, bench):
        def fail():
            raise RuntimeError("out of memory | and so on\nsecond line")

        bench.measure("first", 10, fail)
        bench.measure("second", 10, lambda: None)
        first, second = accelerator.read_rows(bench._rows)
        assert first.note.startswith("failed: RuntimeError: out of memory")
        assert "|" not in "".join(first.columns())
        assert not first.speeds
        assert second.speeds

    def test_what_comes_too_late_is_not_measured(self, accelerator, bench):
        bench._end = 0.0
        bench.measure("late", 10, lambda: pytest.fail("it was called"))
        (row,) = accelerator.read_rows(bench._rows)
        assert row.note.startswith("not measured")

    def test_a_part_that_fails_leaves_the_others(self, accelerator, monkeypatch, tmp_path):
        def fail(_):
            raise OSError("no device")

        parts = {"prepare": (fail, 5), "agreement": (lambda bench: bench.note("labels", "DIFFERS", agrees=False), 5)}
        monkeypatch.setattr(accelerator, "PARTS", parts)
        assert (
            accelerator.main(["--toy", "--together", "--accelerator", "cpu", "--output", str(tmp_path), "--parts", "agreement"])
            == 1
        )
        rows = json.loads((tmp_path / "accelerator.json").read_text("utf-8"))["rows"]
        assert [row["part"] for row in rows] == ["prepare", "agreement"]
        assert "no device" in rows[0]["note"]


def test_gradient_by_newton_is_that_of_a_sort(accelerator):
    entmax = pytest.importorskip("entmax")
    logits = torch.randn(20, 50, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn_like(logits)
    found = []
    for function in (accelerator.NewtonEntmax.apply, lambda x: entmax.entmax15(x, dim=-1)):
        mask = function(logits)
        found.append((mask.detach(), *torch.autograd.grad(mask, logits, gradient)))
    torch.testing.assert_close(found[0], found[1], atol=1e-9, rtol=1e-7)
