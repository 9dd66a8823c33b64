"""Steps of a training at the published size: from stored values, beside the dense network with its own mask and with a full sort.

    uv run python benchmarks/training_step.py [--folder DIR] [--runs 5] [--threads 2] [--batch 1024] [--masks initial trained 0.2]
    uv run python benchmarks/training_step.py --profile [--threads 1]
    uv run python benchmarks/training_step.py --toy

A step goes from sparse counts in memory to changed weights: normalisation, loss, gradients, their norm, AdamW. All ways have the same
weights and cells, those of `scale.py`, and take turns, so that other load falls on all alike; ratios are medians of turns.
Masks are `initial`, of random weights, or have a fraction of the genes in their support, for which the norm of the attention is scaled:
`trained` is 0.01.
Memory is the most that a process of its own has resident in steps, less what it had before the first. Gradients are compared with those of
the dense network in double precision: the largest Euclidean norm of a difference relative to that of the gradient, over all parameters.
`--profile` prints where the time goes, by operations of PyTorch and of this package.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import anndata as ad
import scale
import torch
from _measure import head, machine, memory, row, spread
from scipy import sparse
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from sctab.data import Normalization, normalise, normalise_tensor
from sctab.model import SCTAB
from sctab.nn import TabNet, csr_tensor

FULL_SORT, DENSE, STORED = "dense, full sort", "dense", "from stored values"
WAYS: dict[str, tuple[bool, Callable[[], AbstractContextManager[Any]]]] = {
    FULL_SORT: (False, scale.full_sort),
    DENSE: (False, nullcontext),
    STORED: (True, nullcontext),
}
"""Ways to make a step: whether the input stays sparse, and a context."""
MASKS = ("initial", "trained")
TRAINED_SUPPORT = 0.01
LAMBDA_SPARSE = 1e-5
Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Task:
    """Cells, and a network that learns them.

    Parameters
    ----------
    folder
        Where cells are kept.
    n_cells
        Cells of a batch.
    n_genes
        Genes of the network: the first ones of the model.
    mask
        `initial`, `trained`, or a fraction of the genes.
    """

    folder: Path
    n_cells: int
    n_genes: int
    mask: str

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """Counts of a batch, `(n_cells, n_genes)`."""
        genes = scale.GENES[scale.MODEL_GENES[: self.n_genes]]
        cells = ad.read_h5ad(scale.make_cells(self.folder, max(self.n_cells, 256)))[: self.n_cells, genes]
        return sparse.csr_matrix(cells.X).sorted_indices()

    def input(self, *, stored: bool, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalised expression from counts, as a training makes it."""
        if not stored:
            return normalise_tensor(torch.from_numpy(self.counts.toarray()).to(dtype), Normalization())
        values = normalise(self.counts, Normalization())
        return csr_tensor(*(torch.from_numpy(array) for array in (values.indptr, values.indices, values.data)), values.shape)

    @cached_property
    def labels(self) -> Tensor:
        """A type of each cell."""
        return torch.arange(self.n_cells) % scale.N_LABELS

    @cached_property
    def network(self) -> TabNet:
        """The network in training mode."""
        torch.manual_seed(0)
        settings = SCTAB.paper_settings()["model"]
        kept = {name: value for name, value in settings.items() if name not in ("n_top_genes", "lambda_sparse")}
        network = TabNet(n_features=self.n_genes, n_classes=scale.N_LABELS, **kept).train()
        if self.mask != "initial":
            share = TRAINED_SUPPORT if self.mask == "trained" else float(self.mask)
            few = self.input(stored=False)[:256]
            weight = network.attentive_transformers[0].norm.bn.weight

            def is_too_large(factor: float) -> bool:
                weight.data.fill_(factor)
                with torch.no_grad():
                    return support_of(copy.deepcopy(network)(few).masks[0]) < share * self.n_genes

            weight.data.fill_(scale.balance(0.002, 2.0, is_too_large))
        return network

    def step(self, way: str, *, optimise: bool = True, dtype: torch.dtype = torch.float32) -> tuple[TabNet, Step]:
        """A network and a step of its training."""
        stored, context = WAYS[way]
        network = copy.deepcopy(self.network).to(dtype)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

        def step() -> Tensor:
            optimizer.zero_grad()
            with context():
                output = network(self.input(stored=stored, dtype=dtype))
            loss = nn.functional.cross_entropy(output.logits, self.labels) - LAMBDA_SPARSE * output.mask_loss
            loss.backward()
            if optimise:
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            return loss.detach()

        return network, step

    def gradients(self, way: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Gradients of a step, in double precision."""
        network, step = self.step(way, optimise=False, dtype=dtype)
        step()
        return [parameter.grad.double() for parameter in network.parameters() if parameter.grad is not None]

    def arguments(self) -> list[str]:
        """The same task, for a process of its own."""
        numbers = ["--batch", str(self.n_cells), "--genes", str(self.n_genes)]
        return ["--folder", str(self.folder), *numbers, "--masks", self.mask]


def support_of(mask: Tensor) -> float:
    """Genes in the support of a mask, the mean over cells."""
    return int((mask.values() if mask.layout is torch.sparse_csr else mask).count_nonzero()) / len(mask)


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest relative difference of a gradient."""
    return max(float((one - other).norm() / other.norm()) for one, other in zip(found, expected, strict=True))


def compare(task: Task, n_runs: int) -> None:
    """Print a table of all ways."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    processor: dict[str, list[float]] = {way: [] for way in WAYS}
    steps = {way: task.step(way)[1] for way in WAYS}
    for number in range(n_runs + 1):
        for way, step in steps.items():
            start, used = time.perf_counter(), time.process_time()
            step()
            if number:  # the first warms up
                seconds[way].append(time.perf_counter() - start)
                processor[way].append(time.process_time() - used)
    del steps
    exact = task.gradients(FULL_SORT, torch.float64)
    with torch.no_grad():
        support = support_of(copy.deepcopy(task.network)(task.input(stored=True)).masks[0])
    stored = task.counts.nnz / task.n_cells
    head(
        f"### {task.mask.capitalize()} mask: {support:.0f} genes of {task.n_genes:,} in the support, {stored:,.0f} stored",
        *("way", "cells/s", "speed-up", "processor s", "ratio of processor s", "memory (MB)", "difference of a gradient"),
    )
    for way in WAYS:
        times, of_all = seconds[way], seconds[FULL_SORT]
        row(
            way,
            f"{task.n_cells / median(times):,.0f}",
            spread([other / own for own, other in zip(times, of_all, strict=True)]),
            spread(processor[way], 2),
            spread([other / own for own, other in zip(processor[way], processor[FULL_SORT], strict=True)]),
            f"{peak(task, way):,.0f}",
            f"{difference(task.gradients(way), exact):.1e}",
        )


def peak(task: Task, way: str) -> float:
    """Megabytes that steps take at most besides what is there before them, in a process of its own."""
    command = [sys.executable, __file__, *task.arguments(), "--threads", str(torch.get_num_threads()), "--memory", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def print_peak(task: Task, way: str) -> None:
    """Print it."""
    _, step = task.step(way)
    _ = task.counts, task.labels
    before = memory(os.getpid(), "VmRSS")
    for _ in range(2):
        step()
    print((memory(os.getpid(), "VmHWM") - before) / 1e6)


def print_profile(task: Task, n_steps: int = 3) -> None:
    """Print milliseconds of each operation in a step, by way."""
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        _, step = task.step(way)
        step()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(n_steps):
                step()
        found[way] = {event.key: event.self_cpu_time_total / 1000 / n_steps for event in seen.key_averages()}
    total = {way: sum(times.values()) for way, times in found.items()}
    names = sorted(
        {name for times in found.values() for name in times}, key=lambda name: -max(found[way].get(name, 0) for way in WAYS)
    )
    head(f"### Where the time goes, {task.mask} mask: milliseconds of a step, and share", "operation", *WAYS)
    shown = [name for name in names if any(found[way].get(name, 0) > 0.02 * total[way] for way in WAYS)]
    for name in shown:
        row(
            f"`{name.removeprefix('autograd::engine::')}`",
            *(f"{found[way].get(name, 0):.0f} ({found[way].get(name, 0) / total[way]:.0%})" for way in WAYS),
        )
    rest = {way: total[way] - sum(found[way].get(name, 0) for name in shown) for way in WAYS}
    row("all others", *(f"{rest[way]:.0f} ({rest[way] / total[way]:.0%})" for way in WAYS))
    row("sum", *(f"{total[way]:.0f}" for way in WAYS))


def main(words: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where cells are kept; by default nowhere")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--genes", type=int, default=len(scale.MODEL_GENES))
    parser.add_argument("--masks", nargs="+", default=MASKS)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--toy", action="store_true", help="few cells and genes, to see that everything runs")
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.toy:
        arguments.batch, arguments.genes, arguments.runs = 256, 4000, min(arguments.runs, 2)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        tasks = [Task(folder, arguments.batch, arguments.genes, mask) for mask in arguments.masks]
        if arguments.memory:
            print_peak(tasks[0], arguments.memory)
            return
        print(f"{machine()}; {arguments.threads} threads, {arguments.batch:,} cells")
        for task in tasks:
            if arguments.profile:
                print_profile(task)
            else:
                compare(task, arguments.runs)


if __name__ == "__main__":
    main()
