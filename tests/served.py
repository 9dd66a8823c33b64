"""Directories behind a real HTTP server."""

import re
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


@contextmanager
def served(directory, handler):
    """Serve a directory and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Gives whole files, and says nothing."""

    def log_message(self, *_):
        pass


class GivesParts(Quiet):
    """What servers of data do, and that of the standard library does not: it gives a range of the bytes of a file."""

    ranges: ClassVar[list[tuple[int, int]]] = []

    def end_headers(self):
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(content))
        self.ranges.append((start, stop))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])


class Step:
    """An answer to one request for a file: parameters of :class:`Scripted`."""

    def __init__(
        self,
        *,
        cut=None,
        status=None,
        headers=None,
        ranges=True,
        tag='"1"',
        length=None,
        body=None,
        pause=0.0,
        delay=0.0,
        close=False,
    ):
        self.cut, self.status, self.headers, self.ranges, self.tag = cut, status, headers or {}, ranges, tag
        self.length, self.body, self.pause, self.delay, self.close = length, body, pause, delay, close


class Scripted(Quiet):
    """Answers each request for a file as the next step says, and the last one from then on.

    `cut` sends this number of bytes and closes the connection; `status` sends an error; `ranges=False` ignores ranges; `tag` is the
    ETag, or `None`; `length` is a wrong `Content-Length`; `pause` are seconds between pieces, `delay` those before the answer; `close`
    closes the connection without an answer.
    """

    steps: ClassVar[list[Step]] = [Step()]
    requests: ClassVar[list[dict[str, str]]] = []
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self):
        with self.lock:
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
            self.requests.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        time.sleep(step.delay)
        if step.close:
            self.close_connection = True
            return
        path = Path(self.translate_path(self.path))
        if step.status is not None:
            self._send(step.status, step.body or b"", step)
            return
        if not path.is_file():
            self._send(404, b"", step)
            return
        content = path.read_bytes() if step.body is None else step.body
        if step.tag is not None and self.headers.get("If-None-Match") == step.tag:
            self._send(304, b"", step)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked is None or not step.ranges or (condition is not None and condition != step.tag):
            self._send(200, content, step)
        elif int(asked[1]) >= len(content):
            self._send(416, b"", step, {"Content-Range": f"bytes */{len(content)}"})
        else:
            start = int(asked[1])
            part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._send(206, content[start:], step, part)

    def _send(self, status, content, step, headers=None):
        self.send_response(status)
        given = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(content) if step.length is None else step.length),
        }
        tag = {} if step.tag is None else {"ETag": step.tag}
        for name, value in (given | tag | (headers or {}) | step.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        content = content if step.cut is None else content[: step.cut]
        try:
            for at in range(0, len(content), 65_536):
                self.wfile.write(content[at : at + 65_536])
                time.sleep(step.pause)
        except OSError:  # the client has gone
            pass
        self.close_connection = True


def scripted(*steps):
    """Handler class with its own steps and requests."""
    return type("Scripted", (Scripted,), {"steps": list(steps) or [Step()], "requests": [], "lock": threading.Lock()})
