"""The site over http, for this machine alone: the files that the site's folder lists, and nothing else.

    with server(Path("site"), 8000) as serving: serving.serve_forever()

Reads the folder at every request, so that a site that is made anew is what the next reload shows.
"""

import functools
import socketserver
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.errors import BenchError
from reports.site.folder import listed

HERE = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/x-tex; charset=utf-8",
    ".bib": "text/x-bibtex; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HERE, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "bench", ""

    def __init__(self, *arguments: Any, site: Path) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(self.wfile.write)

    def do_HEAD(self) -> None:
        self._answer(lambda _: 0)

    def _answer(self, write: Callable[[bytes], int]) -> None:
        assert isinstance(self.server, Server)
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HERE}:{port}", f"localhost:{port}"):  # another site's name for this address
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            file = file_of(self.site, self.path)
            data = file.read_bytes() if file else None
        except (OSError, BenchError):  # it is being made anew
            file, data = None, None
        if file is None or data is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES.get(file.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal says what is rendered, not what is read."""


def file_of(site: Path, target: str) -> Path | None:
    """The site's file that a request is for; None for what it has not, or what a link put in its place leads out of it."""
    place = unquote(urlsplit(target).path).removeprefix("/") or "index.html"
    if place not in (listed(site) or ()):
        return None
    file = site / place
    return file if file.is_file() and file.resolve().is_relative_to(site.resolve()) else None


def server(site: Path, port: int) -> Server:
    """`port` 0: any that is free. Raises BenchError where it can not be had."""
    try:
        return Server((HERE, port), functools.partial(Handler, site=site))
    except OSError as error:
        given = f"Port {port} can not be had ({error.strerror})"
        raise BenchError(given, "a free port, or 0 for any that is free", "Name another: --port 0") from error
