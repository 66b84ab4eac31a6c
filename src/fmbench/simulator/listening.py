"""The listening side of a simulated server: its socket, its connections, and the clock that dates what they bring."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from fmbench import ConfigError
from fmbench.simulator.connection import Connection, Incoming
from fmbench.wire.clock import KernelClock, Stamping, stamp_arrivals

__all__ = ["Listener"]

CLOCK_SECONDS = 1.0
BACKLOG = 4096


class Listener:
    """Accepts connections on the running loop.

    Args:
        host: The address.
        port: 0 for any that is free.
        asked: Called with each request.
        gone: Called once with each connection that has closed.
        ticked: Called once a second.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        asked: Callable[[Connection, Incoming], None],
        gone: Callable[[Connection], None],
        ticked: Callable[[], None],
    ) -> None:
        self._host = host
        self._port = port
        self._asked = asked
        self._told_gone = gone
        self._ticked = ticked
        self._connections: set[Connection] = set()

    async def run(self, up: Callable[[str], None], end: asyncio.Event) -> None:
        """Listen until told to end, then close every connection.

        Args:
            up: Called with the URL once it listens.
            end: When to stop.

        Raises:
            ConfigError: the address cannot be had.
        """
        self._loop = asyncio.get_running_loop()
        stamping = Stamping()
        await stamping.begun()
        self._clock = KernelClock()
        try:
            listener = self._listen()
        except ConfigError:
            stamping.close()
            raise
        ticking = self._loop.create_task(self._tick())
        try:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
            up(f"http://{self._host}:{listener.getsockname()[1]}")
            await end.wait()
        finally:
            ticking.cancel()
            self._loop.remove_reader(listener.fileno())
            listener.close()
            for connection in list(self._connections):
                connection.close()
            stamping.close()

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((self._host, self._port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            where = f"{self._host}:{self._port}"
            raise ConfigError(f"port: cannot listen at {where}: {error.strerror or error}; choose another") from None
        return listener

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            self._clock.sample()
            self._ticked()
            for connection in list(self._connections):
                connection.look()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stamp_arrivals(sock)
                self._connections.add(Connection(self._loop, sock, self._clock, asked=self._asked, gone=self._gone))

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._told_gone(connection)
