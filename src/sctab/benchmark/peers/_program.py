"""Runs one peer: `python _program.py NAME FOLDER`; knows neither `sctab` nor the labels of the query."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path


def main(name: str, folder: Path) -> None:
    """Read what to learn and what to name, let the peer do it, and write what it says and what it took."""
    import anndata as ad

    peer = importlib.import_module(f"peer_{name}")
    for module in peer.NEEDS:
        importlib.import_module(module)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    reference, query = ad.read_h5ad(folder / "reference.h5ad"), ad.read_h5ad(folder / "query.h5ad")
    start = time.perf_counter()
    predicted, probabilities = peer.annotate(reference, query, seed=request["seed"], **request["settings"])
    usage = {"seconds": time.perf_counter() - start, "peak_memory": peak_memory()}
    predicted.rename("predicted").astype(str).to_frame().to_parquet(folder / "predicted.parquet")
    probabilities.to_parquet(folder / "probabilities.parquet")
    (folder / "usage.json").write_text(json.dumps(usage), encoding="utf-8")


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not tell, such as Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` would count the process that started this one
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
