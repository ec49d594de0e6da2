"""The loopback server behind a live report: which requests are answered, and how."""

import json
import logging
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, cast

from interp.core import InputError, InterpError
from interp.report.data.stored import report_values
from interp.report.live.guard import (
    HOST,
    NOTHING,
    SAFE_HEADERS,
    RefusedError,
    body_length,
    require_own,
)
from interp.report.live.queue import ModelQueue, QueueFullError
from interp.report.live.request import LADDER, SteerRequest
from interp.report.live.steering import LiveSteering
from interp.report.pages.features import live_policy, page

log = logging.getLogger(__name__)
METHODS = {"/": "GET", "/features.json": "GET", "/state": "GET", "/steer": "POST"}
SLOW_CLIENT_SECONDS = 10
RETRY_SECONDS = "5"
LINGER_SECONDS, LINGER_READS = 0.5, 16


class LiveServer(ThreadingHTTPServer):
    """Listens on this machine's own address only."""

    # Threads are waited for at the end, so none may outlive the server.
    daemon_threads = False

    def __init__(self, port: int, steering: LiveSteering, queue: ModelQueue) -> None:
        self.steering, self.queue = steering, queue
        self._connections: set[Any] = set()
        data = steering.directions.data
        self.page, self.policy = (
            page(data, live=True).encode(),
            f"{live_policy()}; frame-ancestors 'none'",
        )
        values = report_values(data)
        self.features = json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def state(self) -> dict[str, Any]:
        names = self.queue.names
        directions = self.steering.directions
        return {
            "model": self.steering.model.name,
            "busy": bool(names),
            "queue": max(0, len(names) - 1),
            "tickets": names,
            "ladder": list(LADDER),
            "routes": directions.routes,
            "companion_site": directions.companion_site,
        }

    def server_bind(self) -> None:
        # HTTPServer's own would ask the network for this machine's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        self.queue.close()
        # A browser keeps connections open that it has not used yet; their threads would wait for a
        # first line.
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        kind = sys.exc_info()[0]
        if kind is not None and issubclass(kind, ConnectionError | TimeoutError):
            log.debug("a client went away", exc_info=True)
        else:
            log.error("a request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request; every connection holds one."""

    timeout = SLOW_CLIENT_SECONDS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        try:
            self._require_known_place()
            answers = {
                "/": self._page,
                "/features.json": self._features,
                "/state": self._state,
                "/steer": self._steer,
            }
            answers[self.path]()
        except RefusedError as refused:
            self._line(refused.status, refused.line, refused.headers)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            self._line(
                500, "something went wrong here that should not have; the server's log has more"
            )
            raise

    def _require_known_place(self) -> None:
        require_own(
            self.headers, self._live.server_port, page=(self.command, self.path) == ("GET", "/")
        )
        if self.path not in METHODS:
            raise RefusedError(404, "there is nothing here; the report is at /")
        allowed = METHODS[self.path]
        if self.command != allowed:
            raise RefusedError(405, f"{self.path} takes {allowed} only", Allow=allowed)

    @property
    def _live(self) -> LiveServer:
        return cast("LiveServer", self.server)

    def _page(self) -> None:
        self._send(
            200,
            self._live.page,
            "text/html; charset=utf-8",
            {"Content-Security-Policy": self._live.policy},
        )

    def _features(self) -> None:
        self._send(200, self._live.features, "application/json")

    def _state(self) -> None:
        self._json(self._live.state())

    def _steer(self) -> None:
        length = body_length(self.headers)
        body = self.rfile.read(length)
        if len(body) != length:
            raise RefusedError(
                400, f"the request ended after {len(body)} of {length} bytes; send it again"
            )
        try:
            request = SteerRequest.parse(body)
        except InputError as error:
            raise RefusedError(400, str(error)) from error
        self._json(self._steered(request))

    def _steered(self, request: SteerRequest) -> dict[str, Any]:
        try:
            ticket = self._live.queue.submit(
                lambda check: self._live.steering(request, check), request.ticket
            )
            return {**ticket.result(self._gone), "queued": ticket.ahead}
        except QueueFullError as error:
            raise RefusedError(503, str(error), Retry_After=RETRY_SECONDS) from error
        except InterpError as error:
            raise RefusedError(422, str(error)) from error
        except CancelledError as error:
            raise RefusedError(503, "the request was given up, or the server is ending") from error

    def _gone(self) -> bool:
        """Whether the client has closed its end; one that still listens has nothing more to say."""
        self.connection.settimeout(0)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(SLOW_CLIENT_SECONDS)

    def _json(self, value: Mapping[str, Any]) -> None:
        self._send(
            200, json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), "application/json"
        )

    def _line(self, status: int, line: str, headers: Mapping[str, str] = {}) -> None:
        self._send(
            status,
            f"{' '.join(line.split())}\n".encode(errors="replace"),
            "text/plain; charset=utf-8",
            headers,
        )
        self._linger()

    def _linger(self) -> None:
        """Read what of a refused request is still on its way: closing before it has come would take
        the answer back from the client.
        """
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            for _ in range(LINGER_READS):
                if not self.connection.recv(2**16):
                    break

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] = {}) -> None:
        own = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Content-Security-Policy": NOTHING,
        }
        self.send_response(status)
        for name, value in {**SAFE_HEADERS, **own, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses (no http, a header too long, a method without an
        answer), in our form.
        """
        if code == 501:
            self._line(405, "only GET and POST are answered here", {"Allow": "GET, POST"})
        else:
            self._line(code, message or "this is no request that can be read")

    def version_string(self) -> str:
        return "interp"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the standard library's)
        log.debug("%s %s", self.client_address[0], format % args)
