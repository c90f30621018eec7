"""A stand-in for the Hugging Face Hub: what creating, uploading and downloading ask of it.

It keeps repositories in memory, with a list of commits each, and can be told to fail.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_standin"
_LARGE = (".tflite", ".keras", ".npz", ".parquet")


@dataclass
class Fault:
    """What to do instead of answering, for requests whose line matches.

    Attributes:
        match: A pattern for `METHOD /path`.
        status: The status to answer with; 0 cuts the connection.
        headers: Sent with it.
        message: What the Hub says of it.
        times: How often; then it answers again.
    """

    match: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    times: int = 1_000


@dataclass
class Repo:
    """A repository: its commits, each all files by path, and a Space's values."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*\n"}])
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the latest commit."""
        return self.commits[-1]

    @property
    def sha(self) -> str:
        """The latest commit's name."""
        text = repr(sorted((k, hashlib.sha1(v).hexdigest()) for k, v in self.files.items()))
        return hashlib.sha1(f"{len(self.commits)}{text}".encode()).hexdigest()


class Hub:
    """The stand-in's state, shared by its requests."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.faults: list[Fault] = []
        self.url = ""

    def repo(self, name: str, kind: str = "models") -> Repo:
        """Returns a repository, made if it is not there."""
        return self.repos.setdefault((kind, name), Repo())


@contextlib.contextmanager
def standing_in() -> Iterator[Hub]:
    """Serves a stand-in on a free port of this machine."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_HEAD = do_GET

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        line = f"{self.command} {path}"
        self.state.asked.append(line)
        for fault in self.state.faults:
            if fault.times and re.search(fault.match, line):
                fault.times -= 1
                if fault.status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                else:
                    said = {"X-Error-Message": fault.message} if fault.message else {}
                    self._answer(fault.status, {"error": fault.message}, {**said, **fault.headers})
                return
        for pattern, answer in _ROUTES:
            if found := re.fullmatch(pattern, line):
                if not self._may(line):
                    return
                answer(self, body, **found.groupdict())
                return
        self._answer(404, {"error": f"the stand-in has no {line}"})

    def _may(self, line: str) -> bool:
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            said = "Invalid credentials in Authorization header"
            self._answer(401, {"error": said}, {"X-Error-Message": said})
            return False
        if given is None and not line.startswith(("GET", "HEAD", "PUT /lfs")):
            self._answer(401, {"error": "no token"})
            return False
        return True

    def _answer(
        self, status: int, content: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _find(self, kind: str, name: str) -> Repo | None:
        found = self.state.repos.get((kind, name))
        if found is None:
            anonymous = self.headers.get("Authorization") is None
            said = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self._answer(401 if anonymous else 404, {"error": "Repository not found"}, said)
        return found

    # ------------------------------------------------------------ answers

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        kind, name = f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}"
        if (kind, name) in self.state.repos:
            self._answer(409, {"error": "You already created this repo"})
            return
        made = self.state.repo(name, kind)
        made.request = asked
        for what, kept in (("secrets", made.secrets), ("variables", made.variables)):
            kept.update({entry["key"]: entry["value"] for entry in asked.get(what, [])})
        self._answer(200, {"url": f"{self.state.url}/{name}"})

    def info(self, body: bytes, kind: str, name: str, revision: str | None = None) -> None:
        if repo := self._find(kind, name):
            files = [{"rfilename": k, "size": len(v)} for k, v in repo.files.items()]
            about = {"id": name, "sha": repo.sha, "siblings": files, "private": False}
            self._answer(200, about | {"downloads": 0, "likes": 0, "tags": []})

    def validate(self, body: bytes) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if repo := self._find(kind, name):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(file["path"], repo.files.get(file["path"])),
                }
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})

    def batch(self, body: bytes, name: str) -> None:
        objects = []
        for entry in json.loads(body)["objects"]:
            if entry["oid"] not in self.state.stored:
                href = f"{self.state.url}/lfs/{entry['oid']}"
                entry = entry | {"actions": {"upload": {"href": href}}}
            objects.append(entry)
        self._answer(200, {"objects": objects, "transfer": "basic"})

    def store(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.state.stored[oid] = body
        self._answer(200, {})

    def commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        repo = self._find(kind, name)
        if repo is None:
            return
        files = dict(repo.files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                if value.get("parentCommit") not in (None, repo.sha):
                    self._answer(412, {"error": "A commit has happened since"})
                    return
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        url = f"{self.state.url}/{name}/commit/{repo.sha}"
        self._answer(200, {"success": True, "commitOid": repo.sha, "commitUrl": url})

    def resolve(self, body: bytes, kind: str | None, name: str, revision: str, path: str) -> None:
        if repo := self._find(kind or "models", name):
            content = repo.files.get(path)
            if content is None:
                self._answer(404, {}, {"X-Error-Code": "EntryNotFound"})
                return
            etag = hashlib.sha256(content).hexdigest()
            about = {"ETag": f'"{etag}"', "X-Repo-Commit": repo.sha, "Accept-Ranges": "bytes"}
            self._answer(200, content, about | {"Content-Length": str(len(content))})

    def keep(self, body: bytes, name: str, what: str) -> None:
        if repo := self._find("spaces", name):
            entry = json.loads(body)
            getattr(repo, what)[entry["key"]] = entry["value"]
            self._answer(200, [] if what == "secrets" else {})


def _oid(path: str, content: bytes | None) -> str | None:
    if content is None:
        return None
    if path.endswith(_LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_REPO = r"(?P<kind>models|spaces|datasets)/(?P<name>[^/]+/[^/]+)"
_ROUTES = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"GET /api/{_REPO}(/revision/(?P<revision>[^/]+))?", _Handler.info),
    (rf"POST /api/{_REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (rf"POST /api/{_REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (
        r"POST /(spaces/|datasets/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch",
        _Handler.batch,
    ),
    (r"PUT /lfs/(?P<oid>[0-9a-f]{64})", _Handler.store),
    (
        r"POST /api/spaces/(?P<name>[^/]+/[^/]+)/(?P<what>secrets|variables)",
        _Handler.keep,
    ),
    (
        r"(GET|HEAD) /((?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/"
        r"(?P<path>.+)",
        _Handler.resolve,
    ),
]
