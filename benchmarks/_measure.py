"""Tables that benchmarks print, and what whole processes take; with the standard library alone, so that any environment has it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


def row(*values: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(map(str, values)) + " |", flush=True)


def head(title: str, *names: str) -> None:
    """Print a title and the head of a Markdown table."""
    print(f"\n{title}\n")
    row(*names)
    row(*["---"] * len(names))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, and in parentheses smallest and largest where there are several."""
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


@dataclass(frozen=True)
class Usage:
    """Resources used by a process and its children."""

    seconds: float
    cpu: float
    """Seconds of processors, in user and system mode."""
    peak: int
    """Largest resident memory, in bytes, of all of them at a time."""


def watch(command: Sequence[object], **variables: str) -> Usage | None:
    """Run a command to its end; `None` where the system killed it, which it does first of all where memory runs out."""
    with tempfile.TemporaryFile() as errors:
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], env=environment(**variables), **quiet)
        with suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000", encoding="utf-8")
        ended, peak = 0, 0
        while not ended:
            together = sum(memory(pid, "VmRSS") for pid in family(process.pid))
            peak = max(peak, together, memory(process.pid, "VmHWM"))
            time.sleep(0.02)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == -signal.SIGKILL:
            return None
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))}\n{errors.read().decode(errors='replace')}")
    peak = peak or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(seconds, usage.ru_utime + usage.ru_stime, peak)


def environment(**variables: str) -> dict[str, str]:
    """That of this process, but that Python keeps what it compiles, as it does by default, and takes packages from nowhere else."""
    without = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in without} | variables


def family(pid: int) -> list[int]:
    """A process and all that it started and that they started, where the system tells."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # it grows meanwhile
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found


def memory(pid: int, kind: str) -> int:
    """Resident memory, `VmRSS`, or the most of it so far, `VmHWM`; zero where the system does not tell.

    `ru_maxrss` would be at least what the process had that started it.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    return 0


def machine() -> str:
    """Cores, processor, memory and versions."""
    import torch

    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory"
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{n_cores} cores ({processor}){device}, {memory}; torch {torch.__version__}, Python {platform.python_version()}"
