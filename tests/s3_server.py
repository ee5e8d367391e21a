"""An S3 server on the loopback, moto's, that counts its requests and the bytes it sends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


@dataclass
class Request:
    """What was asked, and what was answered; bytes of the bodies that came and were sent."""

    method: str
    path: str
    query: str
    span: str | None  # of bytes, as the header Range has it
    received: int = 0
    status: int = 0
    sent: int = 0

    @property
    def reads(self) -> bool:
        """Whether it is for bytes of an object, not for a listing."""
        return self.method == "GET" and self.path.count("/") >= 2

    @property
    def begin(self) -> int:
        assert self.span
        return int(self.span[len("bytes=") :].split("-")[0])


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as S3's do

    def log(self, *_args: object) -> None:
        """Nothing."""


class Server:
    """The application, and what it was asked.

    ``short`` and ``cut``: so many of the next ranges come by half, which the answer says or not.
    Whatever begins with ``secret`` is denied, and of ``blind`` reading. ``slow``: seconds that a
    deletion takes. ``unconditional``: the server knows no writes on conditions, as some do not.
    """

    def __init__(self) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.requests: list[Request] = []
        self.reset()

    def reset(self) -> None:
        self.requests.clear()
        self.short = self.cut = 0
        self.slow, self.unconditional = 0.0, False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_RANGE"),
            int(
                environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", environ.get("CONTENT_LENGTH") or 0)
            ),
        )
        self.requests.append(request)
        answer: list[Any] = []

        def started(status: str, headers: list[tuple[str, str]], *_more: object) -> None:
            answer[:] = status, dict(headers)

        if request.method == "DELETE":
            time.sleep(self.slow)
        reading = request.method in ("GET", "HEAD")
        if "/secret" in request.path or ("/blind" in request.path and reading):
            body = refusal("AccessDenied") if request.method != "HEAD" else b""
            started("403 Forbidden", [("Content-Length", str(len(body)))])
        elif self.unconditional and "HTTP_IF_NONE_MATCH" in environ:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = refusal("NotImplemented")
            started("501 Not Implemented", [("Content-Length", str(len(body)))])
        else:
            body = b"".join(self.app(environ, started))
        status, headers = answer
        request.status = int(status.split()[0])
        if request.reads and request.span and len(body) > 1 and (self.short or self.cut):
            body = body[: len(body) // 2]
            if self.short:
                self.short -= 1
                headers["Content-Length"] = str(len(body))
                for name in [name for name in headers if "checksum" in name.lower()]:
                    del headers[name]
            else:
                self.cut -= 1
                headers["Connection"] = "close"
        request.sent = len(body) if request.method != "HEAD" else 0
        start_response(status, list(headers.items()))
        return [body]

    def reads(self) -> list[Request]:
        """What was asked of objects' bytes."""
        return [request for request in self.requests if request.reads]


@contextmanager
def serve() -> Iterator[tuple[str, Server]]:
    """Its address, and the server."""
    app = Server()
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
