"""Cost of the checks of a matrix: annotation with and without them, in turn in one process.

    uv run python benchmarks/integrity.py [--folder DIR] [--cells 8192] [--runs 7]

Cells and model are those of `scale.py`; they are made where the folder does not have them. The fastest runs of each kind are compared, so
that what else the machine does weighs on neither. Processor time in the checks is counted in the runs that have them.
"Reading alone" reads every row once and does nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import anndata as ad
from _measure import head, machine, row, spread
from scale import make_cells, make_models
from scipy import sparse

import sctab
from sctab.io import DataFile, _data_file, integrity
from sctab.io._rows import row_blocks
from sctab.model import SCTAB

CHECKS = ("indptr_problem", "indices_problem", "values_problem", "sparse_problem", "lost_piece_problem")


def without_checks() -> ExitStack:
    """Find nothing wrong with any matrix, without a look at it."""
    stack = ExitStack()
    for name in CHECKS:
        stack.enter_context(mock.patch.object(integrity, name, return_value=None))
    stack.enter_context(mock.patch.object(integrity, "missing_pieces", return_value=()))
    stack.enter_context(mock.patch.object(_data_file, "require_sound_heaps"))
    return stack


def timed_checks(seconds: list[float]) -> ExitStack:
    """Append the processor time of every check to `seconds`; of one that calls another, only its own."""
    stack, of_thread = ExitStack(), threading.local()

    def timed(check: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if getattr(of_thread, "is_inside", False):
                return check(*arguments)
            of_thread.is_inside, start = True, time.thread_time()
            try:
                found = check(*arguments)
                return list(found) if isinstance(found, Iterator) else found
            finally:
                seconds.append(time.thread_time() - start)
                of_thread.is_inside = False

        return run

    for module, name in [*((integrity, name) for name in (*CHECKS, "missing_pieces")), (_data_file, "require_sound_heaps")]:
        stack.enter_context(mock.patch.object(module, name, timed(getattr(module, name))))
    return stack


def measure(task: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of processors."""
    start, cpu = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - start, time.process_time() - cpu


def compare(name: str, task: Callable[[], object], n_cells: int, n_runs: int) -> None:
    """Print how much longer a task takes with the checks than without."""
    task()
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    shares = []
    for number in range(n_runs):
        for is_checked in (True, False) if number % 2 else (False, True):
            in_checks: list[float] = []
            with timed_checks(in_checks) if is_checked else without_checks():
                found[is_checked].append(measure(task))
            if is_checked:
                shares.append(100 * sum(in_checks) / found[True][-1][1])
    wall, cpu = (100 * (min(r[i] for r in found[True]) / min(r[i] for r in found[False]) - 1) for i in (0, 1))
    row(name, f"{n_cells / min(r[0] for r in found[True]):,.0f}", f"{wall:.1f}", f"{cpu:.1f}", spread(shares, 2))


def main() -> None:
    """Compare on files of every layout, and in memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        model = SCTAB.load(make_models(folder)[0], accelerator="cpu")
        csr = make_cells(folder, asked.cells)
        cells = ad.read_h5ad(csr)
        csc, zarr = Path(temporary) / "csc.h5ad", Path(temporary) / "csr.zarr"
        ad.AnnData(sparse.csc_matrix(cells.X), obs=cells.obs, var=cells.var).write_h5ad(csc)
        cells.write_zarr(zarr)
        output = Path(temporary) / "labels.parquet"
        print(machine())
        head(
            f"### Cost of the checks, {asked.cells:,} cells",
            *("task", "cells/s with the checks", "more time (%)", "more processor time (%)", "processor time in the checks (%)"),
        )
        for name, path in {"`.h5ad`, CSR": csr, "`.h5ad`, CSC": csc, "`.zarr`, CSR": zarr}.items():
            compare(
                f"annotate {name}",
                lambda path=path: sctab.tl.annotate_files(path, model, output=output, overwrite=True),  # type: ignore[misc]
                asked.cells,
                asked.runs,
            )
        compare("annotate, in memory", lambda: sctab.tl.annotate(cells.copy(), model), asked.cells, asked.runs)
        compare("reading alone, `.h5ad`, CSR", lambda: list(map(id, row_blocks(DataFile(csr).X))), asked.cells, asked.runs)
        compare("reading alone, in memory", lambda: list(map(id, row_blocks(cells.X))), asked.cells, asked.runs)


if __name__ == "__main__":
    main()
