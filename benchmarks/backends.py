"""Cells per second of JAX beside the sparse evaluator and the dense network, with a network of the published size.

    uv run python benchmarks/backends.py --folder DIR [--cells 2048] [--runs 3]

Data and models are those of benchmarks/scale.py, in the same folder. All go from counts in memory to probabilities, in one process, one
after the other in every run. `taskset` chooses cores, of which JAX uses all that it sees.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _measure import head, machine, row, spread
from numpy.typing import NDArray
from scale import BATCH, FEW, Block, batches, exact_probabilities, load, make_cells, open_cells, time_dense, time_evaluator

THREADS = 2


def backends(folder: Path, n_cells: int, n_runs: int) -> None:
    """Print both tables."""
    import jax
    import torch

    torch.set_num_threads(THREADS)
    single, ensemble = load(folder)
    recipe, blocks = open_cells(single, make_cells(folder, n_cells))
    one, five = (model.predictor.block_predictor(backend="jax") for model in (single, ensemble))
    ways: dict[str, Callable[[Sequence[Block]], Any]] = {
        f"dense network, {FEW} cells at a time": partial(time_dense, single.module, recipe, FEW),
        "sparse evaluator": partial(time_evaluator, single.predictor.block_predictor(), recipe),
        'JAX, `annotate(backend="jax")`': partial(time_evaluator, one, recipe),
        "JAX, `model.to_jax()` called with aligned counts": partial(time_call, single.to_jax(), recipe),
        "sparse evaluator, five members": partial(time_evaluator, ensemble.predictor.block_predictor(), recipe),
        "JAX, five members": partial(time_evaluator, five, recipe),
    }
    for time_it in ways.values():  # compiles, and makes buffers
        time_it([(counts[:BATCH], known[:BATCH]) for counts, known in blocks[:1]])
    seconds, processor, probabilities = defaultdict(list), defaultdict(list), {}
    for _ in range(n_runs):
        for name, time_it in ways.items():
            start = time.process_time()
            taken, probabilities[name] = time_it(blocks)
            processor[name].append(time.process_time() - start)
            seconds[name].append(taken)
    reference = "sparse evaluator"
    head(
        f"### Backends\n\n{machine()}, JAX {jax.__version__} on {jax.devices()[0].platform}. {n_cells} cells in memory, {n_runs} runs, "
        f"{THREADS} threads of PyTorch.",
        *("", "cells/s", "cells per processor second", "time / that of the sparse evaluator", "processor time / the same"),
    )
    for name in ways:
        ratios = [
            spread([mine / theirs for mine, theirs in zip(of[name], of[reference], strict=True)]) for of in (seconds, processor)
        ]
        row(name, f"{n_cells / median(seconds[name]):,.0f}", f"{n_cells / median(processor[name]):,.0f}", *ratios)
    expected = exact_probabilities(single.module, recipe, blocks)
    head("Difference from the dense network in double precision:", "", "largest", "mean of a cell's largest", "equal labels")
    for name in list(ways)[:4]:
        found = probabilities[name][: len(expected)]
        differences = np.abs(found - expected).max(axis=1)
        equal = (found.argmax(axis=1) == expected.argmax(axis=1)).mean()
        row(name, f"{differences.max():.1e}", f"{differences.mean():.1e}", f"{equal:.2%}")


def time_call(predict: Any, recipe: Any, blocks: Sequence[Block]) -> tuple[float, NDArray[np.float32]]:
    """The function of JAX on counts over the model's genes, which are aligned beforehand."""
    kept = recipe.positions >= 0
    order = np.argsort(recipe.positions[kept])
    aligned = [counts[:, np.flatnonzero(kept)[order]] for counts, _, rows in batches(blocks, BATCH) for counts in [counts[rows]]]
    start = time.perf_counter()
    parts = [predict(counts) for counts in aligned]
    return time.perf_counter() - start, np.concatenate(parts)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for data and models; temporary by default")
    parser.add_argument("--cells", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        backends(arguments.folder or Path(temporary), arguments.cells, arguments.runs)


if __name__ == "__main__":
    main()
