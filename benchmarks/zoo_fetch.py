"""Fetch a model of 100 MB from a local server: cut off five times, four processes at once, offline, a wrong hash, a full disk.

Run `python benchmarks/zoo_fetch.py [--mb 100]`. It prints a table of what was measured, and ends with 1 if a line is not as expected. Disks
are made full by the largest file that a process may write; with `--tmpfs` also by small file systems in memory, which only root can mount.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import sctab
from sctab.zoo._archive import pack
from sctab.zoo._cache import sha256_of

CONTEXT = multiprocessing.get_context("fork")
N_CUTS, N_PROCESSES = 5, 4


class Server:
    """Serves a folder with ranges; the first requests of the archive are cut off."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cuts, self.requests = folder, 0, []
        lock = threading.Lock()

        class Handler(SimpleHTTPRequestHandler):
            def log_message(handler, *_: Any) -> None:
                pass

            def do_GET(handler) -> None:
                path = folder / handler.path.lstrip("/")
                if not path.is_file():
                    handler.send_error(404)
                    return
                size = path.stat().st_size
                asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
                start = int(asked[1]) if asked else 0
                with lock:
                    is_cut = path.suffix == ".tar" and self.cuts > 0
                    self.cuts -= is_cut
                    if path.suffix == ".tar":
                        self.requests.append(start)
                handler.send_response(206 if asked else 200)
                if asked:
                    handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                handler.send_header("Content-Length", str(size - start))
                handler.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
                handler.end_headers()
                left = size // (N_CUTS + 1) if is_cut else size - start
                with path.open("rb") as file:
                    file.seek(start)
                    while left > 0 and (chunk := file.read(min(left, 2**18))):
                        try:
                            handler.wfile.write(chunk)
                        except OSError:
                            break
                        left -= len(chunk)
                handler.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.index = f"http://127.0.0.1:{self.server.server_port}/models.json"

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()


def host(folder: Path, mb: int, *, wrong: bool = False) -> None:
    """Write an archive of random weights, and an index, whose hash may be wrong."""
    archive = folder / "big-1.0.tar"
    if not archive.exists():
        model = folder / "model"
        model.mkdir()
        (model / "model.json").write_text('{"format": "sctab-model"}')
        with (model / "model.safetensors").open("wb") as file:
            for _ in range(mb):
                file.write(os.urandom(10**6))
        pack(model, archive, root="big-1.0")
        shutil.rmtree(model)
    entry = {"name": "big", "version": "1.0", "description": "Random weights", "license": "CC0-1.0", "organism": "none"}
    entry |= {"url": archive.name, "size": archive.stat().st_size, "sha256": "0" * 64 if wrong else sha256_of(archive)}
    content = {"format": "sctab-models", "format_version": 1, "models": [entry]}
    (folder / "models.json").write_text(json.dumps(content))


def kept(cache: Path) -> list[str]:
    """Files in a cache, without locks, which are empty, and copies of indices."""
    return sorted(
        path.relative_to(cache).as_posix()
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.parent.name != "indices"
    )


def brief(message: str) -> str:
    """Beginning of a message, without paths and URLs."""
    return re.sub(r"`[^`]*/[^`]*`", "`…`", message)[:100] + "…"


@contextmanager
def process_of(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Queue of a process that calls a function and puts its result, or the message of its error, into it."""
    queue = CONTEXT.Queue()
    process = CONTEXT.Process(target=_put, args=(queue, function, arguments))
    process.start()
    yield queue
    process.join()


def _put(queue: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        queue.put(str(function(*arguments)))
    except sctab.SctabError as error:
        queue.put(f"{type(error).__name__}: {error}")


def fetch(cache: Path, index: str, limit: int | None = None) -> Path:
    """Fetch the model into a cache; no file may be larger than the limit."""
    os.environ["SCTAB_CACHE"] = str(cache)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return sctab.zoo.fetch("big@1.0", index=index, show_progress=False)


def offline(cache: Path) -> Path:
    """Fetch the model without a network."""
    os.environ["SCTAB_CACHE"], os.environ["SCTAB_OFFLINE"] = str(cache), "1"
    return sctab.zoo.fetch("big@1.0")


def call(function: Callable[..., Any], *arguments: Any) -> tuple[str, float]:
    """Result of a function in a process of its own, and its seconds."""
    began = time.perf_counter()
    with process_of(function, *arguments) as queue:
        found = queue.get(timeout=600)
    return found, time.perf_counter() - began


def measure(mb: int, *, with_tmpfs: bool) -> list[tuple[str, bool, float, str]]:
    """Name, whether it is as expected, seconds, and what was found."""
    rows: list[tuple[str, bool, float, str]] = []
    with tempfile.TemporaryDirectory(prefix="zoo-fetch-") as temporary:
        work = Path(temporary)
        (work / "served").mkdir()
        host(work / "served", mb)
        server = Server(work / "served")
        size = (work / "served/big-1.0.tar").stat().st_size

        found, seconds = call(fetch, work / "plain", server.index)
        rows.append(
            ("whole", found.endswith("big@1.0"), seconds, f"{size / 1e6 / seconds:,.0f} MB/s, requests at {server.requests}")
        )

        server.requests.clear()
        server.cuts = N_CUTS
        found, seconds = call(fetch, work / "cut", server.index)
        positions = [round(start / size, 3) for start in server.requests]
        is_resumed = positions == sorted(positions) and len(set(positions)) == N_CUTS + 1
        rows.append(
            (f"cut off {N_CUTS} times", found.endswith("big@1.0") and is_resumed, seconds, f"requests at {positions} of the file")
        )

        server.requests.clear()
        began = time.perf_counter()
        queues = [CONTEXT.Queue() for _ in range(N_PROCESSES)]
        processes = [CONTEXT.Process(target=_put, args=(queue, fetch, (work / "four", server.index))) for queue in queues]
        for process in processes:
            process.start()
        paths = {queue.get(timeout=600) for queue in queues}
        for process in processes:
            process.join()
        n_copies = len(list((work / "four/zoo/models").iterdir()))
        is_one = len(paths) == 1 and n_copies == 1 and server.requests == [0]
        seconds = time.perf_counter() - began
        rows.append((f"{N_PROCESSES} processes at once", is_one, seconds, f"{len(server.requests)} download, {n_copies} copy"))

        host(work / "served", mb, wrong=True)
        found, seconds = call(fetch, work / "wrong", server.index)
        rows.append(
            (
                "wrong hash",
                "its SHA-256 is" in found and not kept(work / "wrong"),
                seconds,
                f"{brief(found)}, left: {kept(work / 'wrong')}",
            )
        )
        host(work / "served", mb)

        found, seconds = call(fetch, work / "limit", server.index, size // 2)
        is_refused = found.startswith("DownloadError") and not kept(work / "limit")
        rows.append(("file size limit", is_refused, seconds, f"{brief(found)}, left: {kept(work / 'limit')}"))

        for name, room in (("full disk at the start", mb // 2), ("full disk while unpacking", mb + mb // 2)) if with_tmpfs else ():
            place = work / name.replace(" ", "-")
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}M", "tmpfs", place], check=True)
            try:
                found, seconds = call(fetch, place, server.index)
                is_refused = "the disk is full" in found and not kept(place)
                rows.append((f"{name}, {room} MB", is_refused, seconds, f"{brief(found)}, left: {kept(place)}"))
            finally:
                subprocess.run(["umount", place], check=True)

        server.close()
        found, seconds = call(offline, work / "plain")
        rows.append(("offline, server gone", found.endswith("big@1.0"), seconds, Path(found).name))
        found, seconds = call(offline, work / "none")
        rows.append(
            (
                "offline, not in the cache",
                "the network is not used" in found or "There is no model" in found,
                seconds,
                f"{brief(found)}",
            )
        )
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=100, help="size of the weights")
    parser.add_argument("--tmpfs", action="store_true", help="mount small file systems, as root")
    options = parser.parse_args()
    rows = measure(options.mb, with_tmpfs=options.tmpfs)
    print("| case | as expected | seconds | found |\n| --- | --- | --- | --- |")
    for name, is_right, seconds, found in rows:
        print(f"| {name} | {'yes' if is_right else 'NO'} | {seconds:.1f} | {found} |")
    return int(not all(is_right for _, is_right, *_ in rows))


if __name__ == "__main__":
    sys.exit(main())
