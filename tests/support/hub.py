"""A hub of models on loopback that behaves as huggingface.co does, and misbehaves when told.

    GET /api/models/ORG/REPO/revision/REV?blobs=true   the commit, and files with sizes and digests
    GET /api/models?search=WORDS&author=ORG            ids
    GET /ORG/REPO/resolve/REV/FILE                     small files at once; large ones (LFS) by a
                                                       redirect to another port, with ranges

It remembers each request and counts the bytes of files that it sent.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MAIN = "main"
TOKEN = "hf_ThisIsTheSecretOfTheTests"
_LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".model")


@dataclass
class HubRepository:
    """A repository: files of each revision, and who may have them."""

    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    is_gated: bool = False
    is_private: bool = False
    lies: dict[str, Any] = field(default_factory=dict)
    """What the listing says of a file in the place of the truth: size, or another name."""

    def commit(self, files: Mapping[str, bytes], revision: str = MAIN) -> str:
        """Have these files at the revision; returns the commit."""
        self.revisions[revision] = dict(files)
        return commit_of(files)

    def at(self, revision: str) -> dict[str, bytes] | None:
        """The files of a branch or a commit."""
        for files in self.revisions.values():
            if commit_of(files) == revision:
                return files
        return self.revisions.get(revision)


@dataclass(frozen=True)
class Request:
    """What somebody asked."""

    path: str
    range: str | None
    authorization: str | None


class Hub:
    """The hub, and the place elsewhere where it has its large files, until ``with`` ends."""

    def __init__(self) -> None:
        self.repositories: dict[str, HubRepository] = {}
        self.requests: list[Request] = []
        self.elsewhere: list[Request] = []
        self.sent_bytes = 0
        self.break_after: list[int] = []
        """Bytes after which one answer after the other breaks off; then none does."""
        self.answer: Callable[[BaseHTTPRequestHandler], bool] | None = None
        """Answers in the hub's place, if it returns true."""
        self.knows_ranges = True
        self.on_sent: Callable[[], None] = lambda: None

    def __enter__(self) -> "Hub":
        self._servers = [_Server(self, is_elsewhere) for is_elsewhere in (False, True)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url, self.elsewhere_url = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, repo_id: str, folder: Path | None = None, **settings: Any) -> HubRepository:
        """A repository with the files of a folder."""
        repository = self.repositories[repo_id] = HubRepository(**settings)
        if folder:
            repository.commit(files_of(folder))
        return repository

    def env(self, **more: str) -> dict[str, str]:
        """What has a command ask this hub, and no token by accident."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": "/nonexistent",
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
            **more,
        }

    def fetched(self, path: str) -> list[Request]:
        """The requests for a file."""
        return [one for one in self.requests if one.path.endswith(f"/{path}")]


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def commit_of(files: Mapping[str, bytes]) -> str:
    """An id that differs where the files do."""
    facts = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    return hashlib.sha1(facts.encode()).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, is_elsewhere: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.is_elsewhere = hub, is_elsewhere

    def handle_error(self, *_: object) -> None:
        """Whoever breaks off is the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        request = Request(
            unquote(self.path), self.headers.get("range"), self.headers.get("authorization")
        )
        (hub.elsewhere if self.server.is_elsewhere else hub.requests).append(request)
        if hub.answer and hub.answer(self):
            return
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "models"]:
            self._search()
        elif parts[:2] == ["api", "models"]:
            self._list(parts[2:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.refuse(404, "RepoNotFound", "Repository not found")

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        """As the real one does: by status, and by two headers."""
        headers = {"X-Error-Code": code, "X-Error-Message": message} if code or message else {}
        self.reply(status, json.dumps({"error": message}).encode(), headers)

    def reply(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send all of an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _search(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        words, author = asked.get("search", [""])[0].lower(), asked.get("author", [""])[0]
        ids = [
            one
            for one in self.server.hub.repositories
            if words in one.lower() and author in ("", one.partition("/")[0])
        ]
        self.reply(200, json.dumps([{"id": one} for one in ids]).encode())

    def _repository(self, repo_id: str, is_file: bool) -> HubRepository | None:
        """The repository, unless this caller is refused."""
        hub, sent = self.server.hub, self.headers.get("authorization")
        if sent and sent != f"Bearer {TOKEN}" and not sent.startswith("Bearer hf_other"):
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        found = {one.lower(): repository for one, repository in hub.repositories.items()}
        repository = found.get(repo_id.lower())
        if repository is None or (repository.is_private and not sent):
            status = 404 if sent else 401  # strangers are not told which
            return self.refuse(status, "RepoNotFound", "Repository not found")
        if repository.is_gated and is_file and sent != f"Bearer {TOKEN}":
            status = 403 if sent else 401
            return self.refuse(status, "GatedRepo", f"Access to model {repo_id} is restricted")
        return repository

    def _list(self, parts: list[str]) -> None:
        repository = self._repository("/".join(parts[:2]), is_file=False)
        if repository is None:
            return None
        files = repository.at("/".join(parts[3:]) or MAIN)
        if files is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        names = {one.lower(): one for one in self.server.hub.repositories}
        values = {
            "id": names["/".join(parts[:2]).lower()],
            "sha": commit_of(files),
            "siblings": [
                {**_sibling(name, data), **repository.lies.get(name, {})}
                for name, data in files.items()
            ],
        }
        return self.reply(200, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        hub = self.server.hub
        if self.server.is_elsewhere:  # the address itself says that one may have it
            repository = hub.repositories.get(repo_id)
        else:
            repository = self._repository(repo_id, is_file=True)
        if repository is None:
            return None
        files = repository.at(revision)
        if files is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if name not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        data = files[name]
        headers = {"X-Repo-Commit": commit_of(files), "ETag": f'"{_sibling(name, data)["blobId"]}"'}
        if name.endswith(_LFS_SUFFIXES) and not self.server.is_elsewhere:
            headers |= {
                "Location": f"{hub.elsewhere_url}{self.path}?signature=abc",
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            }
            return self.reply(302, b"", headers)
        return self._send(data, headers)

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        hub, asked, start, stop = self.server.hub, self.headers.get("range"), 0, len(data)
        if asked and hub.knows_ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first)
            if start >= len(data):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            stop = min(len(data), int(last) + 1) if last else len(data)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        self.send_response(206 if "Content-Range" in headers else 200)
        headers |= {"Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        rest = data[start:stop]
        limit = hub.break_after.pop(0) if hub.break_after else len(rest)
        self.wfile.write(rest[:limit])
        hub.sent_bytes += min(limit, len(rest))
        if limit < len(rest):
            self.close_connection = True
        hub.on_sent()
        return None


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    head = f"blob {len(data)}\0".encode()
    values: dict[str, Any] = {
        "rfilename": name,
        "size": len(data),
        "blobId": hashlib.sha1(head + data).hexdigest(),
    }
    if name.endswith(_LFS_SUFFIXES):
        digest = hashlib.sha256(data).hexdigest()
        values["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
    return values
