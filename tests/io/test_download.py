"""Downloads from servers that do what servers do."""

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from typing import ClassVar

import pytest
from tests.served import Scripted, Step, scripted, served

from sctab import DownloadError
from sctab.io import Expected, _download, _http, _progress, download, read_remote

CONTENT = random.Random(0).randbytes(600_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(_download, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.tar").write_bytes(CONTENT)
    return tmp_path / "served"


def expected(**changes):
    return Expected(**({"size": len(CONTENT), "sha256": SHA256} | changes))


def fetched(folder, handler, expectations=None, path="a.tar"):
    target = folder.parent / "a.part"
    with served(folder, handler) as address:
        found = download(f"{address}/{path}", target, expectations or expected())
    assert target.read_bytes() == CONTENT
    assert (found.size, found.sha256) == (len(CONTENT), SHA256)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["a.part", "served"]
    return handler.requests


def refused(folder, handler, message, expectations=None, *, kept=None):
    target = folder.parent / "a.part"
    with served(folder, handler) as address, pytest.raises(DownloadError, match=message):
        download(f"{address}/a.tar", target, expectations or expected())
    names = sorted(path.name for path in folder.parent.iterdir())
    assert names == (["a.part", "a.part.json", "served"] if kept else ["served"])
    if kept:
        assert target.read_bytes() == CONTENT[:kept]
    return handler.requests


def starts(requests):
    return [request.get("range") for request in requests]


@pytest.mark.parametrize("expectations", [Expected(), Expected(size=len(CONTENT)), expected(), Expected(sha256=SHA256)], ids=str)
def test_a_file(folder, expectations):
    assert starts(fetched(folder, scripted(), expectations)) == [None]


def test_md5(folder):
    md5 = hashlib.md5(CONTENT).hexdigest()
    fetched(folder, scripted(), Expected(md5=md5))
    refused(folder, scripted(), f"its MD5 is `{md5}` and not `{'0' * 32}`", Expected(md5="0" * 32))


@pytest.mark.parametrize("expectations", [Expected(), expected()], ids=str)
def test_five_cuts_are_resumed(folder, expectations):
    handler = scripted(*[Step(cut=100_000)] * 5, Step())
    assert starts(fetched(folder, handler, expectations)) == [None, *(f"bytes={n}00000-" for n in range(1, 6))]
    assert {request.get("if-range") for request in handler.requests[1:]} == {'"1"'}


def test_ranges_are_refused(folder):
    assert starts(fetched(folder, scripted(Step(cut=100_000), Step(ranges=False)))) == [None, "bytes=100000-"]


def test_a_file_that_changes_in_between_starts_again(folder):
    old = os.urandom(600_000)
    handler = scripted(Step(cut=100_000, body=old, tag='"0"'), Step())
    fetched(folder, handler, Expected())
    assert starts(handler.requests) == [None, "bytes=100000-"]


def test_a_server_that_ignores_the_condition_is_noticed(folder):
    """It gives the rest of another file."""

    class Careless(scripted(Step(cut=100_000, body=os.urandom(600_000), tag='"0"'), Step())):
        def do_GET(self):
            del self.headers["If-Range"]
            super().do_GET()

    fetched(folder, Careless, Expected())
    assert starts(Careless.requests) == [None, "bytes=100000-", None]


@pytest.mark.parametrize("tag", [None, 'W/"1"'])
def test_without_a_validator_only_a_hash_allows_to_resume(folder, tag):
    steps = [Step(cut=100_000, tag=tag), Step(tag=tag)]
    assert starts(fetched(folder, scripted(*steps), Expected())) == [None, None]
    (folder.parent / "a.part").unlink()
    handler = scripted(*steps)
    assert starts(fetched(folder, handler)) == [None, "bytes=100000-"]
    assert "if-range" not in handler.requests[1]


def test_a_part_of_another_file_is_noticed_by_the_hash(folder):
    (folder.parent / "a.part").write_bytes(os.urandom(1000))
    assert starts(fetched(folder, scripted())) == ["bytes=1000-", None]


def test_the_hash_is_compared_once_more_and_no_more(folder):
    (folder.parent / "a.part").write_bytes(os.urandom(1000))
    handler = scripted()
    refused(folder, handler, f"its SHA-256 is `{SHA256}` and not `{'0' * 64}`.*do not use it", expected(sha256="0" * 64))
    assert starts(handler.requests) == ["bytes=1000-", None]


@pytest.mark.parametrize("left", [0, 1, len(CONTENT) - 1, len(CONTENT), len(CONTENT) + 5])
def test_what_an_earlier_process_has_left_is_used(folder, left):
    (folder.parent / "a.part").write_bytes((CONTENT + bytes(10))[:left])
    (folder.parent / "a.part.json").write_text("damaged {")
    found = starts(fetched(folder, scripted()))
    assert found == ([] if left == len(CONTENT) else [f"bytes={left}-" if 0 < left < len(CONTENT) else None])


def test_a_failure_keeps_what_has_arrived_for_the_next_call(folder):
    handler = scripted(Step(cut=250_000), Step(close=True))
    refused(folder, handler, r"could not be downloaded: the connection was cut off.* 0.2 MB are kept, and the next", kept=250_000)
    assert len(handler.requests) == 5
    assert starts(fetched(folder, scripted())) == ["bytes=250000-"]


def test_another_url_of_a_file_without_a_hash_starts_again(folder):
    refused(folder, scripted(Step(cut=250_000), Step(close=True)), "cut off", Expected(), kept=250_000)
    (folder / "b.tar").write_bytes(CONTENT)
    assert starts(fetched(folder, scripted(), Expected(), path="b.tar")) == [None]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(folder, status):
    assert len(fetched(folder, scripted(Step(status=status), Step(status=status), Step()))) == 3


def test_a_server_says_how_long_to_wait(folder):
    began = time.monotonic()
    fetched(folder, scripted(Step(status=503, headers={"Retry-After": "1"}), Step()))
    assert time.monotonic() - began > 0.9
    (folder.parent / "a.part").unlink()
    refused(
        folder,
        scripted(Step(status=503, headers={"Retry-After": "86400"})),
        "the server asks to wait longer than 120 s. Try again later",
    )


def test_a_server_that_stays_busy_is_given_up(folder):
    assert len(refused(folder, scripted(Step(status=503)), "the server answers 503 Service Unavailable. Try again later")) == 5


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (404, {}, r"there is no such file \(404\). Check the address"),
        (401, {}, "asks for a login"),
        (403, {}, "does not give access"),
        (403, {"cf-mitigated": "challenge"}, "a check for browsers .* provide its path"),
        (418, {}, "the server answers 418"),
    ],
)
def test_a_refusal_is_final(folder, status, headers, message):
    assert len(refused(folder, scripted(Step(status=status, headers=headers)), message)) == 1


def test_a_web_page_is_not_a_file(folder):
    handler = scripted(Step(headers={"Content-Type": "text/html; charset=utf-8"}))
    assert len(refused(folder, handler, "the server sends a web page and not a file")) == 1


@pytest.mark.parametrize(
    ("step", "expectations", "message"),
    [
        (Step(), {"size": 10}, "it has 600,000 bytes and not 10"),
        (Step(length=700_000), {}, "it has 700,000 bytes and not 600,000"),
        (Step(headers={"Content-Length": None}), {"size": 10}, r"bytes or more and not 10"),
        (Step(), {"sha256": "0" * 64}, "It was changed on the server or on the way"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_file_is_refused_and_removed(folder, step, expectations, message):
    assert len(refused(folder, scripted(step), message, expected(**expectations))) == 1


def test_a_length_that_is_too_large_is_a_cut(folder):
    refused(folder, scripted(Step(length=700_000)), "cut off", Expected(), kept=len(CONTENT))


@pytest.mark.parametrize("part", ["bytes 5-599999/600000", "bytes x"])
def test_a_server_that_gives_another_part_is_asked_for_the_whole(folder, part):
    found = starts(fetched(folder, scripted(Step(cut=1000), Step(headers={"Content-Range": part}))))
    assert found == [None, "bytes=1000-", None]


def test_a_server_that_gives_a_part_unasked_is_refused(folder):
    refused(folder, scripted(Step(status=206, body=CONTENT[5:])), "gives another part")


@pytest.mark.parametrize(
    "state",
    [{"validator": ["x"]}, {"validator": "x\n"}, {"total": "many"}, {"total": -1}, {"validator": '"1"', "total": 2**70}, []],
)
def test_a_damaged_state_is_not_resumed_from(folder, state):
    (folder.parent / "a.part").write_bytes(b"x" * 1000)
    with served(folder, scripted(Step())) as address:
        values = {"file": f"{address}/a.tar", "validator": None, "total": None}
        (folder.parent / "a.part.json").write_text(json.dumps(values | state if isinstance(state, dict) else state))
        found = download(f"{address}/a.tar", folder.parent / "a.part", Expected())
    assert found.sha256 == SHA256


def test_a_link_in_place_of_a_part_is_not_followed(folder):
    (folder.parent / "mine").write_text("of the user")
    (folder.parent / "a.part").symlink_to(folder.parent / "mine")
    with served(folder, scripted(Step())) as address:
        download(f"{address}/a.tar", folder.parent / "a.part", expected())
    assert (folder.parent / "mine").read_text() == "of the user"
    assert not (folder.parent / "a.part").is_symlink()


def test_nobody_listens(folder):
    with served(folder, scripted()) as address:
        pass
    with pytest.raises(DownloadError, match="the server refuses the connection"):
        download(f"{address}/a.tar", folder.parent / "a.part", expected())
    with pytest.raises(DownloadError, match="is not a valid URL|the name of the server is not known|refuses"):
        download("http://", folder.parent / "a.part", expected())


def test_a_server_that_stops_is_asked_for_the_rest(folder, monkeypatch):
    monkeypatch.setattr(_http, "READ_TIMEOUT", 0.3)
    found = starts(fetched(folder, scripted(Step(pause=0.9), Step())))
    assert found[0] is None
    assert found[1] == "bytes=65536-"


def test_a_silent_server_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(_http, "READ_TIMEOUT", 0.1)
    refused(folder, scripted(Step(delay=0.5)), "the server did not answer within")


def test_a_slow_server_is_waited_for(folder):
    fetched(folder, scripted(Step(pause=0.05)))


def test_a_full_disk_is_noticed_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused(folder, scripted(), r"the disk is full. 0.6 MB are needed in .*, and 0.0 MB are free")


LIMITED = """
import resource, sys
from pathlib import Path

from sctab import DownloadError
from sctab.io import Expected, download

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
address, target, size, sha256 = sys.argv[1:]
try:
    download(f"{address}/a.tar", Path(target), Expected(size=int(size), sha256=sha256))
except DownloadError as error:
    print(error)
"""
DOWNLOAD = LIMITED.replace("resource.setrlimit", "# ").replace("import resource, sys", "import sys")


def process_of(program, address, target):
    """A process of its own that downloads."""
    command = [sys.executable, "-c", program, address, str(target), str(len(CONTENT)), SHA256]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_file_that_cannot_be_written_further_leaves_nothing(folder):
    with served(folder, scripted()) as address:
        message, _ = process_of(LIMITED, address, folder.parent / "a.part").communicate(timeout=60)
    assert "a file would be larger than this process or file system allows. Free some space" in message
    assert sorted(path.name for path in folder.parent.iterdir()) == ["served"]


def test_a_process_that_is_killed_is_resumed(folder):
    target = folder.parent / "a.part"
    handler = scripted(Step(pause=0.2), Step(pause=0.2), Step())
    with served(folder, handler) as address:
        for _ in range(2):
            process = process_of(DOWNLOAD, address, target)
            before = target.stat().st_size if target.exists() else 0
            while not target.exists() or target.stat().st_size <= before:
                time.sleep(0.02)
            process.kill()
            process.communicate()
        assert 0 < target.stat().st_size < len(CONTENT)
        download(f"{address}/a.tar", target, expected())
    assert target.read_bytes() == CONTENT
    assert all(request.get("range") for request in handler.requests[1:])


def test_a_redirect_to_another_host_gets_no_credentials(folder):
    other = scripted()
    with served(folder, other) as elsewhere:
        elsewhere = elsewhere.replace("127.0.0.1", "localhost")
        handler = scripted(Step(status=302, headers={"Location": f"{elsewhere}/a.tar"}))
        with served(folder, handler) as address:
            url = address.replace("http://", "http://me:secret@")
            download(f"{url}/a.tar", folder.parent / "a.part", expected())
    assert "authorization" in handler.requests[0]
    assert "authorization" not in other.requests[0]
    assert "secret" not in "".join(path.read_text() for path in folder.parent.glob("*.json"))


def test_a_path_and_other_file_systems(folder):
    target = folder.parent / "a.part"
    for url in (folder / "a.tar", (folder / "a.tar").as_uri()):
        target.write_bytes(CONTENT[:1000])
        assert download(str(url), target, expected()).sha256 == SHA256
        assert target.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="No such file or directory. Check the path"):
        download(str(folder / "b.tar"), folder.parent / "b.part")


def test_object_stores(folder):
    fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
    fsspec.filesystem("memory").pipe("/zoo/a.tar", CONTENT)
    target = folder.parent / "a.part"
    target.write_bytes(CONTENT[:1000])
    assert download("memory://zoo/a.tar", target, expected()).sha256 == SHA256
    for url, message in (("memory://zoo/b.tar", "not found. Check the URL"), ("memory://zoo", "a directory and not a file")):
        with pytest.raises(DownloadError, match=message):
            download(url, folder.parent / "b.part")
    with pytest.raises(OSError, match="needs a package that supports `nonsense://`|Protocol not known"):
        download("nonsense://zoo/a.tar", folder.parent / "b.part")


def test_progress_is_shown_of_large_files(folder, capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", -1)
    monkeypatch.setattr(_download, "_SHOWN_FROM", 1000)
    monkeypatch.setattr(_download, "_MB", 1000)
    with served(folder, scripted(Step(cut=300_000), Step(ranges=False))) as address:
        download(f"{address}/a.tar", folder.parent / "a.part", expected(), title="lung@2.1", show_progress=True)
    assert "Downloading lung@2.1: 600 of 600 MB" in capsys.readouterr().err


class TestSmallFiles:
    def test_content_and_tag(self, folder):
        (folder / "models.json").write_text("{}")
        handler = scripted()
        with served(folder, handler) as address:
            url = f"{address}/models.json"
            assert read_remote(url, most=10) == (b"{}", '"1"')
            assert read_remote(url, most=10, unless='"1"') is None
            assert read_remote(url, most=10, unless='"0"') == (b"{}", '"1"')
        assert [request.get("if-none-match") for request in handler.requests] == [None, '"1"', '"0"']

    def test_of_paths_too(self, folder):
        (folder / "models.json").write_text("{}")
        content, tag = read_remote(str(folder / "models.json"), most=10)
        assert content == b"{}"
        assert read_remote(str(folder / "models.json"), most=10, unless=tag) is None

    def test_a_large_one_is_refused(self, folder):
        with served(folder, scripted()) as address, pytest.raises(DownloadError, match="it is larger than 1,000 bytes"):
            read_remote(f"{address}/a.tar", most=1000)

    def test_a_cut_is_tried_again(self, folder):
        handler = scripted(Step(cut=10), Step(close=True), Step())
        with served(folder, handler) as address:
            assert read_remote(f"{address}/a.tar", most=10**6)[0] == CONTENT
        with (
            served(folder, scripted(Step(cut=10))) as address,
            pytest.raises(DownloadError, match="could not be read: the connection"),
        ):
            read_remote(f"{address}/a.tar", most=10**6)


def test_state_names_no_secret(folder):
    refused(folder, scripted(Step(cut=1000), Step(close=True)), "cut off", kept=1000)
    state = json.loads((folder.parent / "a.part.json").read_text())
    assert set(state) == {"file", "validator", "total"}


class Compressed(Scripted):
    """A server that compresses whatever it gives."""

    steps: ClassVar = [Step()]
    requests: ClassVar = []

    def _send(self, status, content, step, headers=None):
        super()._send(status, gzip.compress(content), step, {"Content-Encoding": "gzip"} | (headers or {}))


def test_what_a_server_compresses_is_read_and_an_archive_is_hashed_as_it_is(folder):
    (folder / "models.json").write_text("{}")
    target = folder.parent / "a.part"
    with served(folder, Compressed) as address:
        assert read_remote(f"{address}/models.json", most=10)[0] == b"{}"
        download(f"{address}/models.json", target)
    assert gzip.decompress(target.read_bytes()) == b"{}"
