r"""Training time on a small reference, alone and beside other processes.

    uv run python benchmarks/threads.py REFERENCE.h5ad --labels-key cell_type \
        [--sctab BEFORE/bin/sctab AFTER/bin/sctab] [--model sctab] [--repeats 3]

Each command `sctab train` is run on an idle machine, beside two busy loops, and beside another training. Programs take turns, so that
what else the machine does falls on all alike. Prints wall and processor seconds of whole processes, and their ratio to the first
program in the same turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        "--sctab", nargs="+", type=Path, default=[Path(sys.executable).with_name("sctab")], help="executables to compare"
    )
    parser.add_argument("--model", default="sctab")
    parser.add_argument("--beside", nargs="*", choices=list(BESIDE), default=list(BESIDE))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    print(machine())
    head(
        f"`sctab train --model {arguments.model}`", "beside", "program", "wall s", "processor s", "wall, ratio", "processor, ratio"
    )
    for beside in arguments.beside:
        found: dict[Path, list[Usage]] = defaultdict(list)
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


def train(program: Path, arguments: argparse.Namespace) -> Usage:
    """Train once, into a directory that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        usage = watch([
            program, "train", arguments.reference, "--labels-key", arguments.labels_key, "--model", arguments.model,
            "--accelerator", "cpu", "--no-logs", "--output", Path(folder) / "model",
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
