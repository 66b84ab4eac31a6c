"""A client with its connections open before the clock starts. It never repeats a request, and speaks to no proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from fmbench.errors import InvokeError
from fmbench.types import Head
from fmbench.wire.clock import KernelClock, Stamping
from fmbench.wire.connection import Connection
from fmbench.wire.dialling import Dialler
from fmbench.wire.origin import origin_of
from fmbench.wire.proxies import refuse_proxy
from fmbench.wire.reply import Sink
from fmbench.wire.request import Prepared, prepared_request
from fmbench.wire.signatures import Signable
from fmbench.wire.tls import client_context

__all__ = ["Client", "connect"]

CLOCK_SECONDS = 1.0
"""How often the kernel's clock is compared with ours."""
SPARE_SHARE = 8
"""One connection to spare for so many in use, and one more."""
OPENED_AT_ONCE = 64
"""A listening queue may be no longer than 128."""
LEAST_LIFE_NS = 1_000_000_000
"""A connection that its server closed sooner without having served is not replaced: the next would fare no better."""
NONE: Mapping[str, str] = MappingProxyType({})


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
        ConfigError: the URL or a header cannot be used, or the environment names a proxy for the host (``refuse_proxy``).
    """
    refuse_proxy(url)
    client = Client(
        url, headers=headers, keep_alive=keep_alive, connect_timeout_seconds=connect_timeout_seconds, ssl_context=ssl_context
    )
    try:
        await client.open(connections)
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
        self._origin = origin_of(url)
        self._headers = {name.lower(): (name, value) for name, value in headers.items()}
        self._once = not keep_alive
        self._keep = keep_alive
        self.prepare("GET", "/")  # a header that cannot be sent is told of now
        self._loop = asyncio.get_running_loop()
        context = (ssl_context or client_context()) if self._origin.secure else None
        self._dialler = Dialler(self._loop, self._origin, context, connect_timeout_seconds)
        self._all: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._wanted = self._target = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        self.clock: KernelClock = KernelClock()
        """Maps the kernel's stamps; its ``step_ns`` tells how well."""
        self._stamping = Stamping()
        self._timer = self._loop.call_later(CLOCK_SECONDS, self._sample_clock)

    async def open(self, connections: int) -> None:
        """Open connections ahead of need, and some to spare, as many as the server lets us.

        They are used in turn. A server may close one right after a reply that promised to keep it: with some to spare that
        is often noticed before the connection is used again, and another is opened while nothing waits for it.
        """
        if not connections:
            return
        self._wanted = connections
        self._set_target()
        await self._stamping.begun()
        missing = self._target - len(self._all)
        for start in range(0, missing, OPENED_AT_ONCE):  # each once: a server may close them as fast as they are opened
            count = min(OPENED_AT_ONCE, missing - start)
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
        """Close every connection; requests under way fail."""
        self._closed = True
        self._target = 0
        self._timer.cancel()
        self._stamping.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._all):
            connection.close()

    def prepare(self, method: str, path: str, *, headers: Mapping[str, str] = NONE, body: bytes = b"") -> Prepared:
        """Make a request ready, all but its id.

        Args:
            method: Such as ``POST``.
            path: Put behind the URL's own path; percent-encoded.
            headers: Beside the client's, and instead of one of the same name; ``Content-Length`` is set here.
            body: Its body.

        Raises:
            ConfigError: something cannot be written as HTTP.
        """
        named = self._headers | {name.lower(): (name, value) for name, value in headers.items()}
        return prepared_request(self._origin, method, path, dict(named.values()), body, once=self._once)

    def signable(self, method: str, path: str, *, headers: Mapping[str, str] = NONE, body: bytes = b"") -> Signable:
        """The same request as ``Signer`` signs it; ``headers`` are those that the signature is to cover."""
        return Signable(method, self._origin.path + path, host=self._origin.authority, headers=headers, body=body)

    async def send(self, prepared: Prepared, sink: Sink) -> None:
        """Send a request and hand its reply to ``sink``, piece by piece; ends with the reply's end.

        Cancelling closes the connection, since its reply is still on the way.

        Raises:
            InvokeError: ``connect``, ``reset`` or ``protocol``. A status is no error here.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        data = prepared.with_id(sink.id)
        connection = self._take_free()
        if connection is None:
            connection = await self._connect(sink)
        try:
            await connection.exchange(data, sink, head_only=prepared.head_only)
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
            if connection.is_open():
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
        lived = connection.served or connection.age_ns >= LEAST_LIFE_NS
        if lived and len(self._all) + len(self._opening) < self._target:
            task = self._loop.create_task(self._replace())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _replace(self) -> None:
        try:
            self._free.append(await self._connect())
        except InvokeError:
            self._target = 0  # the server takes no more: the next request that needs one will say so

    async def _connect(self, sink: Sink | None = None) -> Connection:
        dialled = await self._dialler.dial()
        if self._closed:
            dialled.sock.close()
            raise InvokeError("reset", "the client was closed")
        if sink is not None:
            sink.spent(connect_ns=dialled.connect_ns, tls_ns=dialled.tls_ns)
        connection = Connection(self._loop, dialled.sock, self.clock, self._gone, dialled.tls)
        self._all.add(connection)
        return connection

    def _sample_clock(self) -> None:
        self.clock.sample()
        for connection in list(self._all):
            connection.is_open()  # uvloop sometimes stays silent when a connection is reset: look for ourselves
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
