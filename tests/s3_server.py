"""An S3 server on the loopback, moto's, that counts its requests and the bytes it sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class Request:
    """What was asked, and what was answered; ``sent`` are bytes of the body."""

    method: str
    path: str
    query: str
    span: str | None  # of bytes, as the header Range has it
    status: int = 0
    sent: int = 0


class Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as S3's do

    def log(self, *_args: object) -> None:
        """Nothing."""


class Server:
    """The application and what it was asked."""

    def __init__(self) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.requests: list[Request] = []
        self.cut = 0  # so many answers of objects break off in the middle

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_RANGE"),
        )
        if "moto-api" not in request.path:
            self.requests.append(request)

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            request.status = int(status.split()[0])
            return start_response(status, headers, *rest)

        body = b"".join(self.app(environ, started))
        if self.cut and request.method == "GET" and request.span and len(body) > 1:
            self.cut -= 1
            body = body[: len(body) // 2]
        request.sent = len(body) if request.method != "HEAD" else 0
        return [body]

    def gets(self) -> list[Request]:
        """Requests for bytes of objects so far, not for listings."""
        return [r for r in self.requests if r.method == "GET" and r.path.count("/") >= 2]


@contextmanager
def serve() -> Iterator[tuple[str, Server]]:
    """Its address, and the server."""
    app = Server()
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
