"""The benchmark of training steps runs at a small size."""

import importlib

import pytest
import torch


@pytest.fixture
def benchmark(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    module = importlib.import_module("training_step")
    n_threads, flushes = torch.get_num_threads(), not torch.tensor([1e-40]).mul(1.0).any()
    yield module
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(flushes)


def rows_of(printed):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in printed.splitlines() if line.startswith("| ")]


def test_ways_are_compared(benchmark, tmp_path, capsys):
    benchmark.main(["--toy", "--folder", str(tmp_path), "--runs", "1", "--masks", "trained"])
    names, _, *rows = rows_of(capsys.readouterr().out)
    assert [row[0] for row in rows] == list(benchmark.WAYS)
    assert all(float(row[names.index("cells/s")].replace(",", "")) > 0 for row in rows)
    assert all(float(row[names.index("memory (MB)")].replace(",", "")) > 0 for row in rows)
    assert all(float(row[-1]) < 1e-3 for row in rows)


def test_a_profile_is_printed(benchmark, tmp_path, capsys):
    benchmark.main(["--toy", "--folder", str(tmp_path), "--profile", "--masks", "initial"])
    rows = {row[0]: row[1:] for row in rows_of(capsys.readouterr().out)}
    assert rows["`aten::sort`"][1:] == ["0 (0%)", "0 (0%)"]
    assert rows["`InputProductBackward`"][:2] == ["0 (0%)", "0 (0%)"]
    assert len(rows["sum"]) == len(benchmark.WAYS)


def test_a_trained_mask_has_the_wanted_support(benchmark, tmp_path):
    task = benchmark.Task(tmp_path, 256, 4000, "trained")
    mask = task.network(task.input(stored=True)).masks[0]
    assert mask.layout is torch.sparse_csr
    assert 20 < benchmark.support_of(mask) < 80
