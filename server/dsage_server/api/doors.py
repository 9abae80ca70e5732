"""Who may keep a connection, and for how long: peers that say nothing, stop reading, or come in thousands.

The kernel ends those that stop reading, and a look at the connections every few seconds finds the silent ones, so that
it costs a request nothing. What a request may bring is judged in http.py; connections that rest between requests, and
heads that never end, are aiohttp's to close.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiohttp import http_exceptions, web

from dsage.errors import DSageError, RequestError
from dsage_server import tracing
from dsage_server.api import problems
from dsage_server.api.callers import PROXIES, Proxies
from dsage_server.api.http import Handler

Told = Callable[[web.BaseRequest, str, int, float], None]
GONE: Final = 499
"""The status of what nobody waited for any more."""
FIRST_REQUEST_S: Final = 30.0
"""How long a new connection may take for its first request."""
HANDSHAKE_S: Final = 10.0
FAREWELL_S: Final = 5.0
"""How long TLS may take to say good-bye: also the end of whoever does not read the last of its answer."""
READING_S: Final = 30.0
"""How long a peer may leave an answer unread, or unconfirmed because it is gone; the kernel ends it then."""
LOOK_S: Final = 5.0
CROWDED_LOOK_S: Final = 1.0
"""While there are too many connections, closed ones are forgotten more often."""
KEEPALIVE_S: Final = 75.0
"""How long a connection may rest between two requests: longer than the 60 s that clients keep theirs."""
LINGERING_S: Final = 3.0
"""How long the rest of a body that was refused is still read, so that the refusal arrives."""
MAX_FIELD_BYTES: Final = 4096
MAX_FIELDS: Final = 48
"""Of a head; the line with the path may have aiohttp's 8190 bytes."""
HEADERS: Final = {"Server": "DSage", "X-Content-Type-Options": "nosniff"}
"""Of all answers: no browser guesses what they are, and nobody is told versions to look up holes of."""
MOST_OPEN_FILES: Final = 65_536
SPARE_FILES: Final = 256
"""For the database, blobs, checks and the odd visitor."""

UNREADABLE: Final = "what came is no request in HTTP, or its head is larger than any that is read here"

log = logging.getLogger(__name__)


class Peer(web.RequestHandler):
    """A connection, on which also what never gets as far as the application is refused as everything is."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what cannot be read, or what failed beyond all that answers failures; the connection ends."""
        super().handle_error(request, status, exc, message)  # it logs, and raises if an answer has begun
        unread = RequestError(UNREADABLE, hint="Speak HTTP/1.1, with a shorter address and fewer or shorter headers.")
        answer = problems.answer(unread if status < 500 else DSageError("something went wrong on this server"), "")
        answer.headers.update(HEADERS)
        answer.force_close()
        return answer


class Doors:
    """The connections of one listener. `hot` is served by method and path before the application is asked. What
    `proxies` say of where their callers come from is believed (`callers.py`).

    Each request gets an id here. Those in `told` hear of each answer: the template of its address, its status (499: the
    peer had gone) and when its request began, by the performance counter.
    """

    def __init__(
        self, runner: web.AppRunner, hot: Mapping[tuple[str, str], Handler], most: int, told: Sequence[Told] = (),
        proxies: Proxies = (),
    ) -> None:  # fmt: skip
        server = runner.server
        assert server is not None
        self._server = server
        self._hot: Mapping[tuple[str, str], Any] = hot
        self._otherwise = server.request_handler
        self._most = most
        self._told = told
        self._proxies = proxies
        self._looked = -math.inf
        self._open: set[web.RequestHandler] = set()
        self._silent: dict[web.RequestHandler, float] = {}
        server.request_handler = self._serve

    def accept(self) -> web.RequestHandler:
        """Return the protocol of a new connection; one too many ends whoever has been silent for longest."""
        protocol = self._server()
        protocol.__class__ = Peer
        now = asyncio.get_running_loop().time()
        self._open.add(protocol)
        self._silent[protocol] = now
        if len(self._open) > self._most and now - self._looked > CROWDED_LOOK_S:
            self.look(now)
        if len(self._open) > self._most:
            oldest = next((each for each in self._silent if each.transport is not None), None)
            if oldest is not None:
                self._end(oldest)
        return protocol

    async def watch(self) -> None:
        """Look after the connections for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(asyncio.get_running_loop().time())

    def look(self, now: float) -> None:
        """End connections that never asked for anything; forget closed ones."""
        self._looked = now
        self._open = set(self._server.connections)
        for protocol, since in list(self._silent.items()):
            if now - since > FIRST_REQUEST_S:
                self._end(protocol)
            elif protocol not in self._open and now - since > HANDSHAKE_S:
                del self._silent[protocol]
        self._open.update(self._silent)

    async def _serve(self, request: Any) -> web.StreamResponse:
        self._silent.pop(request.protocol, None)
        hot = self._hot.get((request.method, request.raw_path))
        request[PROXIES] = self._proxies
        name, began, status = tracing.begin(request), time.perf_counter(), GONE
        try:
            response: web.StreamResponse = await (hot or self._otherwise)(request)
            status = response.status
            if not response.prepared:
                response.headers[tracing.HEADER] = name
            return response
        except web.HTTPException as answer:
            status = answer.status
            if status >= 400:  # of aiohttp's own, before any middleware: an Expect that nobody knows
                response = problems.refusal(answer, request)
                response.headers[tracing.HEADER] = name
                return response
            answer.headers[tracing.HEADER] = name
            raise
        finally:
            if self._told:
                template = request.path if hot else _template(request)
                for tell in self._told:
                    tell(request, template, status, began)

    def _end(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()


def _template(request: Any) -> str:
    """Return the template of an address, of which there are few; "none" for one that nothing answers."""
    resource = request.match_info.route.resource
    return "none" if resource is None else str(resource.canonical)


class Site(web.BaseSite):
    """A listening socket whose connections pass the doors."""

    def __init__(
        self, runner: web.AppRunner, doors: Doors, listener: socket.socket, context: ssl.SSLContext | None, backlog: int
    ) -> None:
        super().__init__(runner, ssl_context=context, backlog=backlog)
        self._doors = doors
        self._listener = listener

    @property
    def name(self) -> str:
        """Where it listens."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Listen."""
        await super().start()
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections have it from their listener
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(READING_S * 1000))
        context = self._ssl_context
        self._server = await asyncio.get_running_loop().create_server(
            self._doors.accept,
            sock=self._listener,
            ssl=context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_S if context else None,
            ssl_shutdown_timeout=FAREWELL_S if context else None,
        )


class _Nonsense(logging.Filter):
    """Keeps peers that do not speak HTTP from filling the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError)


def quiet_log() -> logging.Logger:
    """Return the log of aiohttp's own complaints, without those about peers."""
    own = logging.getLogger("dsage_server.http")
    if not own.filters:
        own.addFilter(_Nonsense())
    return own


def most_connections() -> int:
    """Raise this process's limit of open files as far as it may, and return how many connections fit below it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(SPARE_FILES, min(soft, MOST_OPEN_FILES) - SPARE_FILES)
