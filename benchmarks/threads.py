r"""Training time on a small reference, alone and beside other processes.

    uv run python benchmarks/threads.py REFERENCE.h5ad --labels-key cell_type \
        [--sctab BEFORE/bin/sctab AFTER/bin/sctab] [--model sctab] [--cells 770 --genes 1767] [--repeats 3]

Each command `sctab train` is run on an idle machine, beside two busy loops, and beside another training. A program may have options of its
own, as in `"AFTER/bin/sctab --no-calibrate"`. Programs take turns, so that what else the machine does falls on all alike. With `--cells`
or `--genes`, that many random cells of the reference are learned, and that many of its genes, those with counts in most cells. Prints
wall and processor seconds of whole processes, and their ratio to the first program in the same turn.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import numpy as np
from _measure import Usage, head, machine, row, spread, watch

_BUSY_LOOP = "while True: pass"
_TRAINING = """
import torch
network = torch.nn.Sequential(torch.nn.Linear(1000, 384), torch.nn.ReLU(), torch.nn.Linear(384, 1000))
optimiser = torch.optim.AdamW(network.parameters())
while True:
    optimiser.zero_grad()
    network(torch.rand(128, 1000)).square().mean().backward()
    optimiser.step()
"""
BESIDE = {"nothing": [], "two busy loops": [_BUSY_LOOP, _BUSY_LOOP], "another PyTorch training": [_TRAINING]}
"""Programs that run meanwhile."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--labels-key", required=True)
    parser.add_argument(
        "--sctab", nargs="+", default=[str(Path(sys.executable).with_name("sctab"))], help="executables to compare, with options"
    )
    parser.add_argument("--model", default="sctab")
    parser.add_argument("--beside", nargs="*", choices=list(BESIDE), default=list(BESIDE))
    parser.add_argument("--cells", type=int)
    parser.add_argument("--genes", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.cells is not None or arguments.genes is not None:
            arguments.reference = cut(arguments.reference, arguments.cells, arguments.genes, Path(folder) / "reference.h5ad")
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measure all programs and print a table."""
    print(machine())
    head(
        f"`sctab train --model {arguments.model}`", "beside", "program", "wall s", "processor s", "wall, ratio", "processor, ratio"
    )
    for beside in arguments.beside:
        found: dict[str, list[Usage]] = defaultdict(list)
        with busy(BESIDE[beside]):
            for _ in range(arguments.repeats):
                for program in arguments.sctab:
                    found[program].append(train(program, arguments))
        first = found[arguments.sctab[0]]
        for program, usages in found.items():
            pairs = list(zip(usages, first, strict=True))
            row(
                beside,
                f"`{program}`",
                spread([usage.seconds for usage in usages]),
                spread([usage.cpu for usage in usages]),
                spread([usage.seconds / other.seconds for usage, other in pairs], 2),
                spread([usage.cpu / other.cpu for usage, other in pairs], 2),
            )


def cut(path: Path, n_cells: int | None, n_genes: int | None, output: Path) -> Path:
    """Write random cells of a reference and the genes with counts in most of them."""
    adata = anndata.read_h5ad(path)
    adata = adata[np.sort(np.random.default_rng(0).permutation(adata.n_obs)[:n_cells])]
    n_detected = np.asarray((adata.X > 0).sum(axis=0)).ravel()
    adata[:, np.sort(np.argsort(-n_detected, kind="stable")[:n_genes])].copy().write_h5ad(output)
    return output


def train(program: str, arguments: argparse.Namespace) -> Usage:
    """Train once, into a directory that is removed."""
    executable, *options = shlex.split(program)
    with tempfile.TemporaryDirectory() as folder:
        usage = watch([
            executable, "train", arguments.reference, "--labels-key", arguments.labels_key, "--model", arguments.model,
            "--accelerator", "cpu", "--no-logs", "--output", Path(folder) / "model", *options,
        ])  # fmt: skip
    if usage is None:
        raise SystemExit("The system ended the training for want of memory.")
    return usage


@contextmanager
def busy(programs: list[str]) -> Iterator[None]:
    """Run programs of Python for a block."""
    running = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
