"""A client with its connections open before the clock starts. It never repeats a request, and reads no environment."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from fmbench.errors import ConfigError, InvokeError
from fmbench.types import Head
from fmbench.wire.clock import KernelClock
from fmbench.wire.connection import Connection, Sink, stamp_arrivals
from fmbench.wire.tls import Tls, client_context

__all__ = ["Client", "Prepared", "connect"]

CLOCK_SECONDS = 1.0
"""How often the kernel's clock is compared with ours."""
SPARE_SHARE = 8
"""One connection to spare for so many in use, and one more."""
STAMPING_SECONDS = 0.02
"""The kernel turns its stamping on in the background when the first socket asks: what arrives before has no time."""
OPENED_AT_ONCE = 64
"""A listening queue may be no longer than 128."""
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request made ready off the clock; only its id is missing."""

    before_id: bytes
    after_id: bytes


@asynccontextmanager
async def connect(
    url: str,
    *,
    connections: int = 1,
    connect_timeout_seconds: float = 10.0,
    headers: Mapping[str, str] = NONE,
    keep_alive: bool = True,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncGenerator[Client]:
    """Open connections to a server; they are closed on leaving.

    A server that cannot be reached is not an error here: each request will say so.

    Args:
        url: ``http://`` or ``https://``, host, port and perhaps a path that all requests' paths are put behind.
        connections: How many to open now; more are opened when they are needed.
        connect_timeout_seconds: How long one may take, name look-up, TLS and all.
        headers: Sent with every request.
        keep_alive: Whether a connection serves several requests. Say no to a server that closes connections which it
            promised to keep: then each request has a new one, opened before it is needed.
        ssl_context: For https; without one, certificates are verified against the system's authorities.

    Raises:
        ConfigError: the URL cannot be used.
    """
    client = Client(
        url, headers=headers, keep_alive=keep_alive, connect_timeout_seconds=connect_timeout_seconds, ssl_context=ssl_context
    )
    try:
        await client.open(connections)
        await asyncio.sleep(STAMPING_SECONDS if connections else 0)
        yield client
    finally:
        await client.close()


class Client:
    """Connections to one server, on the running asyncio or uvloop loop. Made by ``connect``."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NONE,
        keep_alive: bool = True,
        connect_timeout_seconds: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"url must be http://… or https://…, not {url!r}")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("url must not hold a user or password; send a header instead")
        self._loop = asyncio.get_running_loop()
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path.rstrip("/")
        self._context = (ssl_context or client_context()) if parts.scheme == "https" else None
        self._timeout = connect_timeout_seconds
        once: Mapping[str, str] = NONE if keep_alive else {"Connection": "close"}
        self._common = _head_lines({"Host": parts.netloc, "Accept-Encoding": "identity", **once, **headers})
        self._keep = keep_alive
        self._addresses: list[Any] = []
        self._all: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._wanted = self._target = 0
        self._opening: set[asyncio.Task[None]] = set()
        self.clock: KernelClock = KernelClock()
        """Maps the kernel's stamps; its ``step_ns`` tells how well."""
        self._timer = self._loop.call_later(CLOCK_SECONDS, self._sample_clock)

    async def open(self, connections: int) -> None:
        """Open connections ahead of need, and some to spare, as many as the server lets us.

        They are used in turn. A server may close one right after a reply that promised to keep it: with some to spare that
        is often noticed before the connection is used again, and another is opened while nothing waits for it.
        """
        self._wanted = connections
        self._set_target()
        while len(self._all) < self._target:
            count = min(OPENED_AT_ONCE, self._target - len(self._all))
            outcomes = await asyncio.gather(*(self._connect() for _ in range(count)), return_exceptions=True)
            self._free.extend(outcome for outcome in outcomes if isinstance(outcome, Connection))
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            for failure in failures:
                if not isinstance(failure, InvokeError):
                    raise failure
            if failures:
                return  # each request will say so

    def _set_target(self) -> None:
        """Connections that serve once need as many in reserve: all that are in use may end together."""
        spare = 1 + self._wanted // SPARE_SHARE if self._keep else self._wanted
        self._target = self._wanted + spare if self._wanted else 0

    async def close(self) -> None:
        """Close every connection."""
        self._target = 0
        self._timer.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._all):
            connection.close()

    def prepare(self, method: str, path: str, *, headers: Mapping[str, str] = NONE, body: bytes = b"") -> Prepared:
        """Make a request ready, all but its id.

        Args:
            method: Such as ``POST``.
            path: Put behind the URL's own path.
            headers: Beside the client's; ``Content-Length`` is set here.
            body: Its body.
        """
        _check_line(method, "method")
        _check_line(path, "path")
        first = f"{method} {self._path}{path} HTTP/1.1\r\n".encode("latin-1")
        length = f"Content-Length: {len(body)}\r\n".encode() if body or method not in {"GET", "HEAD", "DELETE"} else b""
        return Prepared(first + self._common + _head_lines(headers) + length + b"X-Request-Id: ", b"\r\n\r\n" + body)

    async def send(self, prepared: Prepared, sink: Sink) -> None:
        """Send a request and hand its reply to ``sink``, piece by piece; ends with the reply's end.

        Cancelling closes the connection, since its reply is still on the way.

        Raises:
            InvokeError: ``connect``, ``reset`` or ``protocol``. A status is no error here.
        """
        connection = self._take_free()
        if connection is None:
            connection = await self._connect(sink)
        data = b"".join((prepared.before_id, sink.id.encode("latin-1"), prepared.after_id))
        try:
            await connection.exchange(data, sink)
        except BaseException:
            connection.close()
            raise
        if connection.reusable and self._keep:
            self._free.append(connection)
        else:
            connection.close()

    async def fetch(
        self, method: str, path: str, *, headers: Mapping[str, str] = NONE, body: bytes = b"", timeout_seconds: float = 10.0
    ) -> tuple[Head, bytes]:
        """Send a request whose times do not matter, and return its reply whole.

        Raises:
            InvokeError: as ``send``; kind ``timeout`` after ``timeout_seconds``.
        """
        whole = _Whole()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.send(self.prepare(method, path, headers=headers, body=body), whole)
        except TimeoutError:
            raise InvokeError("timeout", f"{method} {path}: no complete reply within {timeout_seconds:g} s") from None
        return Head(whole.status, whole.headers), b"".join(whole.pieces)

    def _take_free(self) -> Connection | None:
        while self._free:
            connection = self._free.popleft()
            if not connection.closed:
                return connection
        return None

    def _gone(self, connection: Connection) -> None:
        """A connection has closed: open another in its place, off everybody's clock."""
        self._all.discard(connection)
        if connection.broke_its_word and self._keep:
            self._keep = False
            self._set_target()
            for used in [kept for kept in self._free if kept.served]:
                used.close()
        if len(self._all) + len(self._opening) < self._target:
            task = self._loop.create_task(self._replace())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _replace(self) -> None:
        try:
            self._free.append(await self._connect())
        except InvokeError:
            self._target = 0  # the server takes no more: the next request that needs one will say so

    async def _connect(self, sink: Sink | None = None) -> Connection:
        started = time.perf_counter_ns()
        try:
            async with asyncio.timeout(self._timeout):
                sock = await self._reach()
                reached = time.perf_counter_ns()
                tls = await self._secure(sock)
        except TimeoutError:
            raise InvokeError(
                "connect", f"{self._host}:{self._port} did not accept a connection within {self._timeout:g} s"
            ) from None
        except ssl.SSLError as error:
            told = getattr(error, "verify_message", None) or error.reason or str(error)
            raise InvokeError("connect", f"TLS with {self._host}:{self._port} failed: {told}") from error
        except OSError as error:
            raise InvokeError("connect", f"cannot connect to {self._host}:{self._port}: {error.strerror or error}") from error
        if sink is not None:
            secured = 0 if tls is None else time.perf_counter_ns() - reached
            sink.spent(connect_ns=reached - started, tls_ns=secured)
        connection = Connection(self._loop, sock, self.clock, self._gone, tls)
        self._all.add(connection)
        return connection

    async def _reach(self) -> socket.socket:
        if not self._addresses:
            self._addresses = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        failure: OSError | None = None
        for family, kind, protocol, _, address in self._addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stamp_arrivals(sock)
                await self._loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError("the name has no address")

    async def _secure(self, sock: socket.socket) -> Tls | None:
        if self._context is None:
            return None
        try:
            tls = Tls(self._context, self._host)
            await tls.handshake(self._loop, sock)
        except BaseException:
            sock.close()
            raise
        return tls

    def _sample_clock(self) -> None:
        self.clock.sample()
        self._timer = self._loop.call_later(CLOCK_SECONDS, self._sample_clock)


class _Whole:
    """A sink that keeps the reply and no times."""

    def __init__(self) -> None:
        self.id = "fmbench"
        self.kernel = True
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.pieces: list[bytes] = []

    def sent(self, at: int | None = None) -> None:
        pass

    def spent(self, connect_ns: int = 0, tls_ns: int = 0, sign_ns: int = 0) -> None:
        pass

    def head(self, status: int, headers: Mapping[str, str], at: int | None = None) -> None:  # noqa: ARG002 - a Sink's
        self.status, self.headers = status, headers

    def piece(self, data: bytes, at: int | None = None) -> None:  # noqa: ARG002 - a Sink's
        self.pieces.append(data)


def _head_lines(headers: Mapping[str, str]) -> bytes:
    for name, value in headers.items():
        _check_line(name, "header name")
        _check_line(value, f"header {name}")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


def _check_line(text: str, what: str) -> None:
    if "\r" in text or "\n" in text:
        raise ConfigError(f"{what} must not hold a line break")
