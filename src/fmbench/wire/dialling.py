"""Opening connections: a name looked up once, its addresses tried in turn, TLS where it is asked for."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from typing import Any, NamedTuple

from fmbench.errors import InvokeError
from fmbench.wire.clock import stamp_arrivals
from fmbench.wire.origin import Origin
from fmbench.wire.tls import Tls

__all__ = ["Dialled", "Dialler"]

Address = tuple[socket.AddressFamily, Any]


class Dialled(NamedTuple):
    """A connected socket, which is its receiver's to close, and what it took."""

    sock: socket.socket
    tls: Tls | None
    connect_ns: int
    tls_ns: int


class Dialler:
    """Opens connections to one server.

    Args:
        loop: Where sockets are waited for.
        origin: The server.
        context: For TLS; ``None`` speaks none.
        timeout_seconds: How long one connection may take, name look-up, TLS and all.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, context: ssl.SSLContext | None, timeout_seconds: float
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._context = context
        self._timeout = timeout_seconds
        self._addresses: list[Address] = []
        self._looking = asyncio.Lock()

    async def dial(self) -> Dialled:
        """Open a connection.

        Raises:
            InvokeError: ``connect``: it cannot be had; the message says why.
        """
        started = time.perf_counter_ns()
        try:
            async with asyncio.timeout(self._timeout):
                sock = await self._reach()
                reached = time.perf_counter_ns()
                tls = await self._secure(sock)
        except TimeoutError as error:
            told = f"no connection within {self._timeout:g} s" if error.errno is None else _reason(error)
            raise InvokeError("connect", f"cannot connect to {self._origin}: {told}") from None
        except ssl.SSLError as error:
            raise InvokeError("connect", f"TLS with {self._origin} failed: {_told(error)}") from error
        except OSError as error:
            raise InvokeError("connect", f"cannot connect to {self._origin}: {_reason(error)}") from error
        return Dialled(sock, tls, reached - started, 0 if tls is None else time.perf_counter_ns() - reached)

    async def _reach(self) -> socket.socket:
        addresses = await self._look_up()
        failure: OSError | None = None
        for address in addresses:
            try:
                sock = await self._reach_one(address)
            except OSError as error:
                failure = error
            else:
                if address is not addresses[0]:  # the next one need not try in vain
                    self._addresses = [address, *(other for other in addresses if other is not address)]
                return sock
        raise failure or OSError("the name has no address")

    async def _reach_one(self, address: Address) -> socket.socket:
        family, place = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a long prompt may keep a reply waiting for minutes
            stamp_arrivals(sock)
            await self._loop.sock_connect(sock, place)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _look_up(self) -> list[Address]:
        async with self._looking:
            if not self._addresses:
                self._addresses = self._literal() or await self._asked()
            return self._addresses

    def _literal(self) -> list[Address]:
        """The address, where the host is one: that needs no thread."""
        host, port = self._origin.host, self._origin.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return []
        return [(family, place) for family, _, _, _, place in found]

    async def _asked(self) -> list[Address]:
        found = await self._loop.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
        return [(family, place) for family, _, _, _, place in found]

    async def _secure(self, sock: socket.socket) -> Tls | None:
        if self._context is None:
            return None
        try:
            tls = Tls(self._context, self._origin.host)
            await tls.handshake(self._loop, sock)
        except BaseException:
            sock.close()
            raise
        return tls


def _reason(error: OSError) -> str:
    """The system's word: loops put their own in its place, which say less."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _told(error: ssl.SSLError) -> str:
    told = getattr(error, "verify_message", None) or (error.reason or str(error)).replace("_", " ").lower()
    return (
        f"{told}; does the server speak TLS? If not, use http:// in the url" if error.reason == "WRONG_VERSION_NUMBER" else told
    )
