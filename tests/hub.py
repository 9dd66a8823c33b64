"""A small server of the hub's HTTP API: repositories with commits, large files apart, and errors."""

import base64
import hashlib
import json
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml


@dataclass
class Repository:
    """Files of each commit, and commits of branches and tags."""

    commits: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    titles: list = field(default_factory=list)
    tags: dict = field(default_factory=dict)

    def sha(self, revision):
        return (self.names | self.tags).get(revision, revision if revision in self.commits else None)


class Hub:
    """State of the server."""

    def __init__(self):
        self.repositories = {}
        self.objects = {}
        self.requests = []
        self.cut = {}
        """Times that a download of a file ends after half of the rest."""
        self.broken = False
        self.endpoint = ""

    def commit(self, repo, branch, changes, title=""):
        repository = self.repositories[repo]
        before = repository.commits.get(repository.names.get(branch), {})
        files = before | changes
        sha = hashlib.sha1(repr([title, len(repository.commits), sorted(files)]).encode()).hexdigest()
        repository.commits[sha] = files
        repository.names[branch] = sha
        repository.titles.append(title)
        return sha

    def downloads(self, name):
        return [path for method, path in self.requests if method == "GET" and path.endswith("/" + name)]


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *arguments):
        """Say nothing."""

    def answer(self, content=b"", status=200, **headers):
        if isinstance(content, dict | list):
            content = json.dumps(content).encode()
            headers.setdefault("Content-Type", "application/json")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def refuse(self, status, code="", message=""):
        self.answer({"error": message or code}, status, **({"X-Error-Code": code} if code else {}))

    def route(self):
        url = urllib.parse.urlsplit(self.path)
        self.hub.requests.append((self.command, url.path))
        if self.hub.broken:
            self.body()
            return self.refuse(500, message="the hub is down")
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        match parts:
            case ["api", "repos", "create"]:
                return self.create()
            case ["api", "validate-yaml"]:
                header = json.loads(self.body())["content"].split("---\n")[1]
                known = isinstance(yaml.safe_load(header), dict)
                return self.answer({"errors": [] if known else [{"message": "no header"}], "warnings": []})
            case ["lfs", "verify"]:
                wanted = json.loads(self.body())
                return self.answer({}) if wanted["oid"] in self.hub.objects else self.refuse(404)
            case ["lfs", oid]:
                content = self.body()
                if hashlib.sha256(content).hexdigest() != oid:
                    return self.refuse(400)
                self.hub.objects[oid] = content
                return self.answer()
            case [_, _, "info", "lfs", "objects", "batch"]:
                return self.batch()
            case ["api", "models", owner, name, *rest]:
                return self.of_repository(f"{owner}/{name}", rest)
            case [owner, name, "resolve", revision, *path]:
                return self.resolve(f"{owner}/{name}", revision, "/".join(path))
        return self.refuse(404)

    do_GET = do_HEAD = do_POST = do_PUT = route

    def create(self):
        values = json.loads(self.body())
        if not self.headers.get("Authorization", "").startswith("Bearer hf_"):
            return self.refuse(401, message="Invalid username or password.")
        repo = f"{values['organization']}/{values['name']}"
        if repo in self.hub.repositories:
            return self.answer({"url": f"{self.hub.endpoint}/{repo}", "error": "You already created this model repo"}, 409)
        self.hub.repositories[repo] = Repository()
        self.hub.commit(repo, "main", {".gitattributes": b""})
        return self.answer({"url": f"{self.hub.endpoint}/{repo}", "id": repo})

    def batch(self):
        server, objects = self.hub.endpoint, json.loads(self.body())["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{server}/lfs/{each['oid']}"}, "verify": {"href": f"{server}/lfs/verify"}}
        return self.answer({"transfer": "basic", "objects": objects})

    def of_repository(self, repo, rest):
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self.body()
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if rest and rest[0] == "preupload":
            files = json.loads(self.body())["files"]
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in files
            ]
            return self.answer({"files": modes})
        if rest and rest[0] == "commit":
            return self.commit(repo, rest[1])
        if rest == ["refs"]:
            refs = [
                [{"name": name, "ref": f"refs/{name}", "targetCommit": sha} for name, sha in each.items()]
                for each in (repository.names, repository.tags)
            ]
            return self.answer({"branches": refs[0], "converts": [], "tags": refs[1]})
        if rest[:1] == ["tag"]:
            repository.tags[json.loads(self.body())["tag"]] = rest[1]
            return self.answer({})
        revision = rest[1] if rest[:1] in (["revision"], ["tree"]) else "main"
        sha = repository.sha(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if rest[:1] == ["tree"]:
            return self.answer([self.entry(path, content) for path, content in sorted(repository.commits[sha].items())])
        return self.answer({"id": repo, "modelId": repo, "sha": sha, "private": False, "tags": [], "siblings": []})

    def entry(self, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path.endswith(".safetensors"):
            entry["lfs"] = {"size": len(content), "oid": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        return entry

    def commit(self, repo, branch):
        lines = [json.loads(line) for line in self.body().splitlines()]
        changes, title = {}, ""
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    title = value["summary"]
                case "file":
                    changes[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    changes[value["path"]] = self.hub.objects[value["oid"]]
        sha = self.hub.commit(repo, branch, changes, title)
        return self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{sha}"})

    def resolve(self, repo, revision, path):
        repository = self.hub.repositories.get(repo)
        sha = None if repository is None else repository.sha(revision)
        content = None if sha is None else repository.commits[sha].get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound" if sha else "RevisionNotFound")
        is_large = path.endswith(".safetensors")
        etag = hashlib.sha256(content).hexdigest() if is_large else git_oid(content)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        wanted, status = content, 200
        if (span := self.headers.get("Range", "")).startswith("bytes="):
            start = int(span.removeprefix("bytes=").split("-")[0])
            wanted, status = content[start:], 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and self.hub.cut.get(path, 0):
            self.hub.cut[path] -= 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(wanted)))
            self.end_headers()
            self.wfile.write(wanted[: max(1, len(wanted) // 2)])
            self.close_connection = True
            return None
        return self.answer(wanted, status, **headers)


@contextmanager
def served():
    """The server, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hub = Hub()
    server.hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub_server(tmp_path, monkeypatch):
    """A server, and a client that has logged in and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with served() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield hub
