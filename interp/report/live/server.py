"""The loopback server of a live report."""

import asyncio
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from interp.core import InputError, InterpError, UnavailableError
from interp.report.data.stored import report_values
from interp.report.live.guard import (
    HOST,
    NOTHING,
    SAFE_HEADERS,
    RefusedError,
    require_own,
    require_short_json,
)
from interp.report.live.queue import ModelQueue, QueueFullError
from interp.report.live.request import LADDER, SteerRequest
from interp.report.live.steering import LiveSteering
from interp.report.pages.features import live_policy, page

log = logging.getLogger(__name__)
METHODS = {"/": "GET", "/features.json": "GET", "/state": "GET", "/steer": "POST"}
SLOW_CLIENT_SECONDS = 10
RETRY_SECONDS = "5"


@contextmanager
def listening(port: int, steering: LiveSteering, queue: ModelQueue) -> Iterator[str]:
    """A server on a thread, at the loopback address only; gives its url.

    At the end the queue closes first, so that waiting clients learn why.

    Raises:
        UnavailableError: the port is taken.
    """
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise UnavailableError(
            f"port {port} of {HOST} cannot be had: {error.strerror}; give another, or 0 for any"
        ) from error
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        _application(_Answers(steering, queue), port),
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        # Its own messages would go to the console; `_failed` logs what matters.
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=asyncio.run, args=(_run(server, listener),), name="interp-live"
    )
    thread.start()
    try:
        yield f"http://{HOST}:{port}/"
    finally:
        queue.close()
        server.should_exit = True
        thread.join()


async def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.serve([listener])
    # Closing waits for clients that neither send nor read; aborting does not.
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


class _Connection(H11Protocol):
    """uvicorn's, with a time limit for idle clients and our form of refusals."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(SLOW_CLIENT_SECONDS, self._require_request)

    def _require_request(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot read."""
        if self.cycle is not None:
            # The request was read and is being answered; only its body is malformed.
            self.shutdown()
            return
        found = str(sys.exc_info()[1])
        status = 403 if "Host" in found else 411 if "Content-Length" in found else 400
        answer = _line(status, f"this is no request that can be read: {found}")
        for event in (
            h11.Response(
                status_code=status, headers=[*answer.raw_headers, (b"connection", b"close")]
            ),
            h11.Data(data=answer.body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _application(answers: "_Answers", port: int) -> Starlette:
    return Starlette(
        routes=[
            Route("/", answers.page),
            Route("/features.json", answers.features),
            Route("/state", answers.state),
            Route("/steer", answers.steer, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, port=port)],
        exception_handlers={RefusedError: _refused, Exception: _failed},
    )


class _Guard:
    """Refuses by headers, path and method, before routing."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app, self.port = app, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._require_known_place(scope)
        except RefusedError as error:
            await _line(error.status, str(error), error.headers)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _require_known_place(self, scope: Scope) -> None:
        # As sent: an escaped path is another one here.
        method, path = scope["method"], scope["raw_path"].decode("ascii")
        page = (method, path) == ("GET", "/")
        require_own(Headers(scope=scope), self.port, page=page)
        if path not in METHODS or scope["query_string"]:
            raise RefusedError(404, "there is nothing here; the report is at /")
        allowed = METHODS[path]
        if method != allowed:
            raise RefusedError(405, f"{path} takes {allowed} only", {"Allow": allowed})


class _Answers:
    """The page, its data, the state of the queue, and steered texts."""

    def __init__(self, steering: LiveSteering, queue: ModelQueue) -> None:
        self.steering, self.queue = steering, queue
        data = steering.directions.data
        policy = f"{live_policy()}; frame-ancestors 'none'"
        self._page = _answer(
            200, page(data, live=True), "text/html", {"Content-Security-Policy": policy}
        )
        self._features = _json(report_values(data))

    async def page(self, request: Request) -> Response:
        return self._page

    async def features(self, request: Request) -> Response:
        return self._features

    async def state(self, request: Request) -> Response:
        names = self.queue.names
        directions = self.steering.directions
        return _json(
            {
                "model": self.steering.model.name,
                "busy": bool(names),
                "queue": max(0, len(names) - 1),
                "tickets": names,
                "ladder": list(LADDER),
                "routes": directions.routes,
                "companion_site": directions.companion_site,
            }
        )

    async def steer(self, request: Request) -> Response:
        require_short_json(request.headers)
        try:
            wanted = SteerRequest.parse(await _body(request))
        except InputError as error:
            raise RefusedError(400, str(error)) from error
        try:
            ticket = self.queue.submit(lambda check: self.steering(wanted, check), wanted.ticket)
            found = await ticket.result(request.is_disconnected)
        except QueueFullError as error:
            raise RefusedError(503, str(error), {"Retry-After": RETRY_SECONDS}) from error
        except InterpError as error:
            raise RefusedError(422, str(error)) from error
        except CancelledError as error:
            raise RefusedError(503, "the request was given up, or the server is ending") from error
        return _json({**found, "queued": ticket.ahead})


async def _body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(SLOW_CLIENT_SECONDS):
            return await request.body()
    except TimeoutError as error:
        raise RefusedError(
            408,
            f"the request took longer than {SLOW_CLIENT_SECONDS} s to come; send it again",
            {"Connection": "close"},
        ) from error
    except ClientDisconnect as error:
        raise RefusedError(400, "the request ended before its length; send it again") from error


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _line(error.status, str(error), error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return _line(500, "something went wrong here that should not have; the server's log has more")


def _json(value: Mapping[str, Any]) -> Response:
    return _answer(200, json.dumps(value, ensure_ascii=False, allow_nan=False), "application/json")


def _line(status: int, line: str, headers: Mapping[str, str] = {}) -> Response:
    return _answer(status, f"{' '.join(line.split())}\n", "text/plain", headers)


def _answer(status: int, text: str, kind: str, headers: Mapping[str, str] = {}) -> Response:
    own = {"Content-Security-Policy": NOTHING, **SAFE_HEADERS, **headers}
    return Response(text.encode(errors="replace"), status, own, kind)
