"""A real HTTP server in a thread that speaks chat completions as far as a test's reply goes."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass
class Reply:
    """What the server sends; ``body`` as JSON unless it is bytes."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def completion(text: str | None, finish: str = "stop") -> Reply:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Reply(200, {"id": "c", "object": "chat.completion", "choices": [choice]})


def trouble(status: int, code: str = "trouble", **headers: str) -> Reply:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"message": "what was sent: a secret", "code": code}}, headers)


@dataclass
class Request:
    """What the server got."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> str:
        text: str = self.body["messages"][-1]["content"][-1]["text"]
        return text

    @property
    def picture(self) -> Image.Image:
        url: str = self.body["messages"][-1]["content"][0]["image_url"]["url"]
        start, _, data = url.partition(",")
        assert start == "data:image/png;base64"
        return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


@dataclass
class Server:
    """A running server and all that it was sent."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serve(reply: Callable[[Request, int], Reply], models: tuple[str, ...] = ("tiny",)) -> Iterator[Server]:
    """A server on a free port; ``reply`` gets each request and how many came before it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(Reply(200, {"object": "list", "data": [{"id": name} for name in models]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = Request(self.path, dict(self.headers), body)
            with lock:
                before = len(server.requests)
                server.requests.append(request)
            self.send(reply(request, before))

        def send(self, reply: Reply) -> None:
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # who asked has left
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    lock = threading.Lock()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
