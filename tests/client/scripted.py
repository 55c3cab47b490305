"""A server on loopback that says what a test has written down, hangs up where it is told to, and remembers."""

import json
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

JsonObject = Mapping[str, object]


class Request(NamedTuple):
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        decoded: dict[str, object] = json.loads(self.body)
        return decoded


class Reply(NamedTuple):
    """What the server says; with `cut`, the connection ends where the body does, as if the server had died."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    cut: bool = False


HANG_UP = Reply(0, cut=True)
"""No answer at all."""


def answer(content: JsonObject, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **named})


def problem(status: int, code: str, detail: str, **headers: str) -> Reply:
    return answer({"title": code, "status": status, "code": code, "detail": detail}, status, **headers)


def events(*lines: str, cut: bool = False) -> Reply:
    body = "".join(f"{line}\n\n" for line in lines).encode()
    return Reply(200, body, {"Content-Type": "text/event-stream"}, cut)


def vacant_url() -> str:
    """An address on loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class ScriptedServer:
    """Answers each route with its replies in turn; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._replies: defaultdict[str, deque[Reply | Callable[[Request], Reply]]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, route: str, *replies: Reply | Callable[[Request], Reply]) -> None:
        """`on("GET /path", first, second, …)`."""
        self._replies[route].extend(replies)

    def sent(self, route: str) -> list[Request]:
        """The requests to a route so far."""
        return [request for request in self.requests if f"{request.method} {request.path}" == route]

    def reply_to(self, request: Request) -> Reply:
        self.requests.append(request)
        replies = self._replies[f"{request.method} {request.path}"]
        if not replies:
            return problem(404, "not_scripted", f"Nothing is scripted for {request.method} {request.path}.")
        reply = replies.popleft() if len(replies) > 1 else replies[0]
        return reply if isinstance(reply, Reply) else reply(request)

    @contextmanager
    def serving(self) -> Iterator["ScriptedServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # the client went away, as some tests want
                self.close_connection = True

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.reply_to(
                Request(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
            )
            self.close_connection = reply.cut
            if reply.status:
                self._say(reply)

        def _say(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                promised = len(reply.body) + (100 if reply.cut else 0)
                self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    return Handler
