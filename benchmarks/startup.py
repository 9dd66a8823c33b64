"""Start-up times of whole processes.

    uv run python benchmarks/startup.py [--python PYTHON]… [--repeats 5] [--scratch FOLDER]

Each `PYTHON` is the executable of an environment with `sctab`, by default the one that runs this; the others are compared with the first.
Measured are `import numpy`, `import sctab`, `sctab --help`, `sctab models`, and `sctab annotate` of 700 cells: those of
`scanpy.datasets.pbmc68k_reduced`, log1p of 765 genes, which the first environment writes into a scratch folder. Environments take turns,
after a run of each that fills caches. Prints seconds, and seconds of processors: median (smallest to largest), and the ratios of the
medians to those of the first environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from _measure import environment, head, machine, row, spread

QUERY = """
import sys, warnings
import scanpy as sc

with warnings.catch_warnings(action="ignore"):
    sc.datasets.pbmc68k_reduced().raw.to_adata().write_h5ad(sys.argv[1])
"""
COMMAND = "import sys; from sctab.cli import main; sys.argv[0] = 'sctab'; main()"


def main() -> None:
    """Measure, and print tables."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        query, labels = Path(scratch) / "query.h5ad", Path(scratch) / "labels.csv"
        subprocess.run([options.python[0], "-c", QUERY, query], check=True, env=environment())
        annotate = ("annotate", query, "--csv", labels, "--overwrite", "--accelerator", "cpu")
        works: dict[str, list[object]] = {
            "`import numpy`": ["-c", "import numpy"],
            "`import sctab`": ["-c", "import sctab"],
            "`sctab --help`": ["-c", COMMAND, "--help"],
            "`sctab models`": ["-c", COMMAND, "models"],
            "`sctab annotate`, 700 cells": ["-c", COMMAND, *annotate],
        }
        print(machine())
        for name, arguments in works.items():
            report(name, options.python, [[python, *arguments] for python in options.python], options.repeats)


def report(name: str, pythons: Sequence[str], commands: Sequence[Sequence[object]], n: int) -> None:
    """Measure one work in all environments, and print a table of it."""
    for command in commands:
        measured(command)
    found: list[list[tuple[float, float]]] = [[] for _ in commands]
    for _ in range(n):
        for command, of_command in zip(commands, found, strict=True):
            of_command.append(measured(command))
    head(name, "environment", "s", "of processors, s", "ratio", "ratio of processors")
    seconds, cpu = ([[usage[part] for usage in of_command] for of_command in found] for part in (0, 1))
    for python, wall, processors in zip(pythons, seconds, cpu, strict=True):
        ratios = (f"{median(values) / median(first):.2f}" for values, first in ((wall, seconds[0]), (processors, cpu[0])))
        row(f"`{python}`", spread(wall, 2), spread(processors, 2), *ratios)


def measured(command: Sequence[object]) -> tuple[float, float]:
    """Seconds that a command takes, and seconds of processors; waits without looking, which would cost some of both."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=errors, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))}\n{errors.read().decode(errors='replace')}")
    return seconds, usage.ru_utime + usage.ru_stime


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", help="executable of an environment; can be repeated")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="folder for the file of cells and its labels")
    options = parser.parse_args()
    options.python = options.python or [sys.executable]
    return options


if __name__ == "__main__":
    main()
