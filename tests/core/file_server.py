"""A local web server that serves files, well or badly, to test downloads."""

import base64
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path, and notes what was asked for and with which headers.

    Attributes:
        files: content by path, without the first slash.
        asked: the requested paths, with their queries.
        ranges: the ``Range`` of each request, None where there was none.
        users: the ``Authorization`` of each request.
        etag: sent with every file, if any.
        sends: after how many bytes the connection is cut, one entry per request; later requests get the whole file.
        announces: announces more bytes than there are.
        pause: seconds before each byte.
        endless: goes on sending zeros after the file.
        password: ``user:password`` that must be given, if any.
        token: value that ``?token=`` must have, if any.
        redirects: where each path is redirected to.
        kind: the ``Content-Type``.
        status: the status code for files that are found.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.users: list[str | None] = []
        self.etag: str | None = None
        self.sends: list[int] = []
        self.announces = 0
        self.pause = 0.0
        self.endless = False
        self.password: str | None = None
        self.token: str | None = None
        self.redirects: dict[str, str] = {}
        self.kind = "text/csv"
        self.status = 200

    def address(self, name: str, user: str = "") -> str:
        """Where a file is served."""
        return f"http://{user}127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client hangs up."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Serve a file as the server is told to."""
        path, _, query = self.path.partition("?")
        name = path.strip("/")
        self.server.asked.append(self.path)
        self.server.ranges.append(self.headers.get("Range"))
        self.server.users.append(self.headers.get("Authorization"))
        if name in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[name])
            self.end_headers()
        elif not self._allowed(query):
            self.send_error(401)
        elif name not in self.server.files:
            self.send_error(404)
        else:
            self._serve(self.server.files[name])

    def _allowed(self, query: str) -> bool:
        wanted = self.server.password and "Basic " + base64.b64encode(self.server.password.encode()).decode()
        known = not wanted or self.headers.get("Authorization") == wanted
        return known and (not self.server.token or f"token={self.server.token}" in query.split("&"))

    def _serve(self, content: bytes) -> None:
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(given[1]) if given and self.headers.get("If-Range") == self.server.etag else 0
        if start > len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else self.server.status)
        self.send_header("Content-Type", self.server.kind)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not self.server.endless:
            self.send_header("Content-Length", str(len(content) - start + self.server.announces))
        self.end_headers()
        self._send(content[start:])

    def _send(self, content: bytes) -> None:
        cut = self.server.sends.pop(0) if self.server.sends else len(content)
        if self.server.pause:
            for byte in content[:cut]:
                time.sleep(self.server.pause)
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
        else:
            self.wfile.write(content[:cut])
        while self.server.endless:
            self.wfile.write(bytes(1 << 16))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the block ends."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
