"""The HTTP side of the local Hub: what it answers, and how it sends a body that is to go wrong."""

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.hub_repository import Repository

if TYPE_CHECKING:
    from tests.support.local_hub import LocalHub

TOKEN = "hf_thisIsATokenOfTheLocalHub"
CHUNK = 16 * 1024
MODEL = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)(?:/(?P<kind>revision|tree)/(?P<revision>[^/]+))?")
RESOLVE = re.compile(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
CDN = re.compile(r"/cdn/(?P<sha256>[0-9a-f]{64})")
SORTS = {"downloads": "downloads", "likes": "likes"}
PLAIN = ("id", "modelId")  # what each answer has, whatever was asked to be there


class Server(ThreadingHTTPServer):
    """Knows its connections, and is silent about those that clients close."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.open: list[Any] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    hub: "LocalHub"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.path_only = unquote(address.path)
        self.hub.asked.append(f"{self.command} {self.path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token:
            self.hub.seen_tokens["cdn" if self.path.startswith("/cdn/") else "hub"].add(token)
        status = self.hub.status_for(self.path_only)
        if status:
            return self._send(status, b"", {"Retry-After": "0"} if status == 429 else {})
        if token and token != TOKEN:
            return self._error(401, "", "Invalid credentials in Authorization header")
        self.known = bool(token)
        if CDN.fullmatch(self.path_only):
            return self._cdn(CDN.fullmatch(self.path_only)["sha256"])  # type: ignore[index]
        if self.path_only == "/api/models":
            return self._list(parse_qs(address.query))
        if match := MODEL.fullmatch(address.path):
            return self._model(unquote(match["id"]), match["kind"], unquote(match["revision"] or "main"))
        if match := RESOLVE.fullmatch(address.path):
            return self._resolve(unquote(match["id"]), unquote(match["revision"]), unquote(match["path"]))
        return self._send(200 if self.path_only == "/" else 404, b"")

    def _list(self, query: dict[str, list[str]]) -> None:
        words = query.get("search", [""])[0].lower().split()
        filters = {*query.get("filter", []), *query.get("pipeline_tag", [])}
        found = [
            one
            for one in self.hub.repositories.values()
            if all(word in one.hub_id.lower() for word in words)
            and filters <= one.all_tags()
            and (not one.private or self.known)
        ]
        key = SORTS.get(query.get("sort", [""])[0])
        if key:
            found.sort(key=lambda one: getattr(one, key), reverse=True)
        limit = int(query.get("limit", ["1000"])[0])
        expand = query.get("expand")
        infos = [one.info("main", blobs=False) for one in found[:limit]]
        if expand:
            infos = [{name: info[name] for name in (*PLAIN, *expand) if name in info} for info in infos]
        self._json(infos)

    def _model(self, hub_id: str, kind: str | None, revision: str) -> None:
        repository = self._visible(hub_id)
        if repository is None:
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif kind == "tree":
            self._json(repository.tree(commit))
        else:
            self._json(repository.info(commit, blobs="blobs=" in self.path))

    def _resolve(self, hub_id: str, revision: str, path: str) -> None:
        repository = self._visible(hub_id)
        if repository is None:
            return
        if repository.gated and not (self.known and repository.accepted):
            status = 403 if self.known else 401
            self._error(status, "GatedRepo", f"Access to model {hub_id} is restricted.")
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        file = repository.history[commit].get(path)
        if file is None:
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        elif file.sha256:
            linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            place = {"Location": f"{self.hub.cdn}/cdn/{file.sha256}", "X-Repo-Commit": commit}
            self._send(302, b"", {**place, **linked, "ETag": f'"{file.sha256}"'})
        else:
            self._body(path, file.content, {"X-Repo-Commit": commit, "ETag": f'"{file.oid}"'})

    def _cdn(self, sha256: str) -> None:
        found = self.hub.find_blob(sha256)
        if found is None:
            self._send(404, b"")
        else:
            self._body(*found, {"ETag": f'"{sha256}"'})

    def _visible(self, hub_id: str) -> Repository | None:
        """The repository, or None after an answer that there is none for whoever asks."""
        repository = self.hub.repositories.get(hub_id)
        if repository is None or (repository.private and not self.known):
            self._error(404 if self.known else 401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _body(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        """Send a file or the rest of it, with what the test wants to go wrong."""
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and int(asked[1]) < len(content):
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        self.send_response(206 if start else 200)
        for name, value in {**headers, "Content-Length": str(len(rest)), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end, hold = self.hub.break_for(path), self.hub.hold_for(path)
        with suppress(ConnectionError):
            if hold:
                self._write(path, rest[: hold.after])
                hold.reached.set()
                hold.released.wait()
                rest = rest[hold.after :]
            self._write(path, rest if end is None else rest[:end])
        if end is not None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _write(self, path: str, content: bytes) -> None:
        for place in range(0, len(content), CHUNK):
            part = content[place : place + CHUNK]
            self.wfile.write(part)
            self.hub.sent[path] += len(part)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": message}
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {**{name: value for name, value in told.items() if value}, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
