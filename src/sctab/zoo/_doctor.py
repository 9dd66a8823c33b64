"""Checks of a machine: libraries, device, threads, cache, locks, certificates, places for files. Nothing of it needs PyTorch to load."""

from __future__ import annotations

import importlib.metadata
import json
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sctab.errors import SctabError
from sctab.io import cache_dir, config_file, without_credentials
from sctab.zoo._indices import addresses

_PACKAGE = "sctab"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[.*?\])?(?:>=(?P<least>[\w.]+))?(?:;\s*extra == ['\"](?P<extra>[\w-]+)['\"])?")
_NUMBER = re.compile(r"\d+")
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_LEAST_SPACE = 2**30
"""Bytes of free space below which an annotated copy or a download may not fit."""
_PATIENCE = 120
"""Seconds after which a library that does not load is given up."""
_PROBE = """
import json, sys
found = {"problems": {}}
for name in ("numpy", "h5py", "numba", "anndata", "torch"):
    try:
        __import__(name)
    except BaseException as error:
        found["problems"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
torch = sys.modules.get("torch")
if "torch" not in found["problems"]:
    found["threads"] = torch.get_num_threads()
    found["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    found["built_for_cuda"] = torch.version.cuda or torch.version.hip
    found["mps"] = torch.backends.mps.is_available()
print(json.dumps(found))
"""
"""Program that loads the libraries in a process of its own, which may end by a signal."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of a check."""

    name: str
    """Name of what was checked."""
    value: str
    """Value found."""
    problem: str = ""
    """Rule that it breaks, and how to fix it; empty where nothing is wrong."""

    def to_json(self) -> dict[str, str | bool]:
        """Plain values for JSON."""
        return {"name": self.name, "value": self.value, "problem": self.problem, "ok": not self.problem}


def check_machine() -> tuple[Finding, ...]:
    """Check whether `sctab` can work on this machine; nothing is changed, and the network is not used.

    Returns
    -------
    A finding for each check, of which those with a `problem` say how to fix it.
    """
    return (
        _versions(),
        *_libraries(),
        *_loaded(_probe([sys.executable, "-c", _PROBE])),
        _processors(),
        *_places(),
        _locks(cache_dir()),
        *_network(os.environ),
        _indices(),
        _text(sys.stdout.encoding or "", locale.getpreferredencoding(do_setlocale=False), sys.getfilesystemencoding()),
        *_extras(),
    )


def _versions() -> Finding:
    value = f"sctab {importlib.metadata.version(_PACKAGE)}, Python {platform.python_version()}, {platform.platform()}"
    return Finding(name="version", value=value)


def _requirements() -> Iterator[tuple[str, str, str]]:
    """Name, lowest version and extra of each requirement."""
    for line in importlib.metadata.requires(_PACKAGE) or []:
        if (match := _REQUIREMENT.match(line.replace(" ", "").replace(";extra==", "; extra == "))) is not None:
            yield match["name"], match["least"] or "", match["extra"] or ""


def _libraries() -> Iterator[Finding]:
    """Required libraries: one finding, and one for each that is missing or too old."""
    found, problems = 0, []
    for name, least, extra in _requirements():
        if extra:
            continue
        version = _version_of(name)
        if version is not None and not _is_older(version, least):
            found += 1
        else:
            has = "it is not installed" if version is None else f"version {version} is installed"
            problems.append(
                Finding(
                    name=name,
                    value=version or "missing",
                    problem=f"`sctab` needs {name}{f' {least} or newer' if least else ''}, and {has}. Run `pip install '{name}"
                    f"{f'>={least}' if least else ''}'`.",
                )
            )
    yield Finding(name="libraries", value=f"{found} of {found + len(problems)} required ones are installed")
    yield from problems


def _probe(command: list[str]) -> dict[str, Any]:
    """Results of a program that loads libraries; with a `crash` where it ended otherwise."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603 (this Python)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"crash": str(error)}
    try:
        values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:]
        return {"crash": f"the process ended with the exit code {done.returncode}{': ' + last[0] if last else ''}"}
    return values


def _loaded(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings on what libraries say when they are loaded."""
    if "crash" in found:
        yield Finding(
            name="loading",
            value="failed",
            problem=f"PyTorch, NumPy, h5py, numba and AnnData cannot be loaded: {found['crash']}. Create a new environment and install "
            "`sctab` into it.",
        )
        return
    for name, why in found["problems"].items():
        yield Finding(
            name=name,
            value="cannot be loaded",
            problem=f"`import {name}` fails: {why}. Install it again with `pip install --force-reinstall {name}`, or create a new "
            "environment.",
        )
    if "threads" not in found:
        return
    devices = found["cuda"] or (["Apple GPU (MPS)"] if found["mps"] else [])
    problem = ""
    if not found["cuda"] and shutil.which("nvidia-smi") is not None:
        built = f"was built for CUDA {found['built_for_cuda']}" if found["built_for_cuda"] else "was built for CPUs"
        problem = (
            f"There is a driver for NVIDIA GPUs, and PyTorch, which {built}, finds no GPU. Run `nvidia-smi`, and install a PyTorch that "
            "fits the driver from https://pytorch.org/get-started/locally, or use `--accelerator cpu`."
        )
    yield Finding(name="device", value=", ".join(devices) or "CPU", problem=problem)
    usable, threads = _n_usable(), found["threads"]
    problem = (
        f"PyTorch uses {threads} threads on {usable} usable processors, and threads that wait for each other are slow. Set "
        f"`OMP_NUM_THREADS={usable}`."
        if threads > usable
        else ""
    )
    yield Finding(
        name="threads",
        value=f"{threads} of PyTorch, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}",
        problem=problem,
    )


def _n_usable() -> int:
    """Processors that this process may use."""
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1


def _processors() -> Finding:
    return Finding(name="processors", value=f"{_n_usable()} usable of {os.cpu_count() or 1}")


def _places() -> Iterator[Finding]:
    """Places for files: of the cache, and for temporary files."""
    cache = cache_dir()
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) if cache.is_dir() else 0
    yield _place("cache", cache, f"{size / 1e6:,.1f} MB used", "SCTAB_CACHE")
    yield _place("temporary files", Path(tempfile.gettempdir()), "", "TMPDIR")


def _place(name: str, path: Path, note: str, variable: str) -> Finding:
    there = next((each for each in (path, *path.absolute().parents) if each.exists()), path)
    value = f"`{path}`{', ' + note if note else ''}"
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(
            name=name,
            value=value,
            problem=f"`{path}` cannot be written: {error.strerror or error}. Set `{variable}` to a directory that can be written.",
        )
    problem = (
        f"`{path}` has {free / 1e6:,.0f} MB of free space. Free some, or set `{variable}` to another disk."
        if free < _LEAST_SPACE
        else ""
    )
    return Finding(name=name, value=f"{value}, {free / 1e9:,.1f} GB free", problem=problem)


def _locks(cache: Path) -> Finding:
    """Lock of a file in the place of the cache, which must keep others out."""
    there = next((each for each in (cache, *cache.absolute().parents) if each.exists()), cache)
    advice = "Downloads of several processes at once may damage each other. Set `SCTAB_CACHE` to a local disk."
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".sctab-doctor-") as folder:
            path = Path(folder) / "lock"
            with FileLock(path, timeout=1):
                try:
                    with FileLock(path, timeout=0, is_singleton=False):
                        return Finding(
                            name="file locks",
                            value="no effect",
                            problem=f"Locks on the file system of `{cache}` have no effect. {advice}",
                        )
                except Timeout:
                    return Finding(name="file locks", value="work")
    except (OSError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or error
        return Finding(name="file locks", value="fail", problem=f"Files in `{cache}` cannot be locked: {why}. {advice}")


def _network(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Proxies and certificates, as they are set; nothing is connected to."""
    proxies = {name: without_credentials(url) for name, url in urllib.request.getproxies().items() if name != "no"}
    listed = ", ".join(f"{name}: {url}" for name, url in sorted(proxies.items()))
    yield Finding(name="proxies", value=listed or "none")
    chosen = {name: environment[name] for name in _CERTIFICATES if environment.get(name)}
    missing = {name: path for name, path in chosen.items() if not Path(path).exists()}
    store = "of the system" if _version_of("truststore") is not None else "of certifi"
    problem = ""
    if missing:
        name, path = next(iter(missing.items()))
        problem = f"`{name}` is `{path}`, which does not exist: no server will be trusted. Correct it, or unset it."
    yield Finding(name="certificates", value=", ".join(f"{name}={path}" for name, path in chosen.items()) or store, problem=problem)
    offline = environment.get("SCTAB_OFFLINE", "")
    if offline:
        yield Finding(name="offline", value=f"SCTAB_OFFLINE={offline}")


def _indices() -> Finding:
    """Indices of models besides the packaged one, as they are configured."""
    try:
        found = addresses()
    except SctabError as error:
        return Finding(name="indices", value=f"packaged; `{config_file()}`", problem=str(error))
    return Finding(name="indices", value=", ".join(["packaged", *map(without_credentials, found)]))


def _text(terminal: str, preferred: str, files: str) -> Finding:
    """Encodings, of which a table of genes or labels needs Unicode."""
    encodings = {"terminal": terminal, "text files": preferred, "file names": files}
    value = ", ".join(f"{name} {encoding or 'unknown'}" for name, encoding in encodings.items())
    other = [
        name for name, encoding in encodings.items() if encoding and encoding.lower().replace("-", "") not in ("utf8", "cp65001")
    ]
    problem = (
        f"The encoding of {' and '.join(other)} is not UTF-8, so that names such as `γδ T cell` may be lost. Set `PYTHONUTF8=1`."
        if other
        else ""
    )
    return Finding(name="text", value=value, problem=problem)


def _extras() -> Iterator[Finding]:
    """Optional libraries by their extra. A missing one is not a problem; one that is too old is."""
    of_extra: dict[str, list[tuple[str, str]]] = {}
    for name, least, extra in _requirements():
        if extra:
            of_extra.setdefault(extra, []).append((name, least))
    for extra, requirements in sorted(of_extra.items()):
        versions = {name: _version_of(name) for name, _ in requirements}
        missing = [name for name, version in versions.items() if version is None]
        old = [name for name, least in requirements if (version := versions[name]) is not None and _is_older(version, least)]
        problem = (
            f"{', '.join(old)} {'is' if len(old) == 1 else 'are'} too old. Run `pip install -U 'sctab[{extra}]'`." if old else ""
        )
        value = "installed" if not missing else f"not installed ({', '.join(missing)}); `pip install 'sctab[{extra}]'`"
        yield Finding(name=f"extra {extra}", value=value, problem=problem)


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_older(version: str, least: str) -> bool:
    """Compare the numbers at the start of two versions."""
    parts = [[int(_NUMBER.match(part)[0]) for part in each.split(".") if _NUMBER.match(part)] for each in (version, least)]  # type: ignore[index]
    longest = max(map(len, parts))
    return parts[0] + [0] * (longest - len(parts[0])) < parts[1] + [0] * (longest - len(parts[1]))
