"""A Hugging Face hub for one repository, as far as snapshot_download and upload_folder need it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """``files`` of repository ``repo``, None before it is created; ``requests`` says who asked.

    ``cut``: send half of this file. ``status``: answer everything so.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repo: str | None = None
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut = ""
        self.status = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if self.server.status:
            return self.fail(self.server.status, "")
        match = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)/(revision|tree|resolve)/(.*)", path)
        if not match or match[1] != self.server.repo:
            return self.fail(404, "RepoNotFound")
        kind, rest = match[2], match[3].split("/")
        if rest[0] not in ("main", COMMIT):
            return self.fail(404, "RevisionNotFound")
        files = self.server.files
        if kind == "revision":
            return self.answer({"id": match[1], "sha": COMMIT, "siblings": [
                {"rfilename": name} for name in files]})  # fmt: skip
        if kind == "tree":
            return self.answer([
                {"type": "file", "path": name, "size": len(data), "oid": oid(data)}
                for name, data in files.items()])  # fmt: skip
        if rest[1] not in files:
            return self.fail(404, "EntryNotFound")
        return self.send_file(rest[1], files[rest[1]])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.requests.append(f"POST {self.path}")
        body = self.read_body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.fail(401, "")
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            self.server.repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            return self.answer({"url": f"{self.server.address}/{self.server.repo}"})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.answer({"files": [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]})  # fmt: skip
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.address}/{self.server.repo}/commit/{COMMIT}"
            return self.answer({"commitOid": COMMIT, "commitUrl": url})
        return self.answer({"warnings": [], "errors": []})  # /api/validate-yaml

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send_file(self, name: str, data: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].split("-")[0])
        end = len(data) // 2 if self.command == "GET" and name == self.server.cut else None
        data = data[start:end]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{oid(self.server.files[name])}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Silent."""


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
