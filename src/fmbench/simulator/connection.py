"""The server's side of one HTTP/1.1 connection: what came, when the kernel had it, and what goes out at once."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import httptools

from fmbench.wire.clock import ANCILLARY_BYTES, KernelClock

__all__ = ["Connection", "Incoming"]

READ_BYTES = 65536
MOST_BODY = 64 * 1024 * 1024
_timespec = struct.Struct("@ll").unpack
TRICKLE_BYTES = 37
TRICKLE_SECONDS = 0.001
_LINGER_NOT = struct.pack("ii", 1, 0)
"""Closing then resets the connection."""


class Incoming:
    """One request as it came."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "received_ns")

    def __init__(self) -> None:
        self.method: str = ""
        self.path: str = ""
        self.headers: dict[str, str] = {}
        self.body: bytearray = bytearray()
        self.keep_alive: bool = True
        self.received_ns: int = 0
        """When the kernel had its last byte."""


class Connection:
    """A connected socket, owned: ``close`` ends it.

    Args:
        loop: Where the socket is waited for.
        sock: The socket.
        clock: Maps the kernel's time to ours.
        asked: Called with each request.
        gone: Called once when it has closed, whoever closed it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        clock: KernelClock,
        *,
        asked: Callable[[Connection, Incoming], None],
        gone: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._clock = clock
        self._asked = asked
        self._gone = gone
        self._unsent = b""
        self._closing = False
        self._trickles = False
        self._incoming = Incoming()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._read_ns = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.closed: bool = False
        self.flight: Any = None
        """The server's: which request it works on."""
        loop.add_reader(sock.fileno(), self._readable)

    def look(self) -> None:
        """Notice a reset of which the loop did not tell: uvloop sometimes stays silent."""
        if not self.closed and self._poll.poll(0):
            self._readable()

    def trickle(self) -> None:
        """From now on send in small writes with a pause between them, so that the client reads in pieces."""
        self._trickles = True

    def write(self, data: bytes) -> None:
        """Send; what the kernel does not take at once goes later."""
        if self.closed:
            return
        if self._trickles:
            if not self._unsent:
                self._loop.call_soon(self._drop)
            self._unsent += data
            return
        if not self._unsent:
            try:
                count = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                count = 0
            except OSError:
                self.close()
                return
            if count == len(data):
                return
            data = data[count:]
            self._loop.add_writer(self._sock.fileno(), self._writable)
        self._unsent += data

    def answered(self, keep_alive: bool) -> None:
        """The reply is whole: wait for the next request, or close when all is sent."""
        self.flight = None
        if not keep_alive:
            self._closing = True
            if not self._unsent:
                self.close()

    def reset(self) -> None:
        """Close it so that the client sees a reset."""
        if not self.closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.close()

    def close(self) -> None:
        """Close it."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._unsent and not self._trickles:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._gone(self)

    def _drop(self) -> None:
        if self.closed:
            return
        try:
            count = self._sock.send(self._unsent[:TRICKLE_BYTES])
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError:
            self.close()
            return
        self._unsent = self._unsent[count:]
        if self._unsent:
            self._loop.call_later(TRICKLE_SECONDS, self._drop)
        elif self._closing:
            self.close()

    def _writable(self) -> None:
        try:
            count = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self._unsent = self._unsent[count:]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())
            if self._closing:
                self.close()

    def _readable(self) -> None:
        now = time.perf_counter_ns()
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            self.close()
            return
        self._read_ns = now
        if ancillary:
            seconds, nanoseconds = _timespec(ancillary[0][2])
            self._read_ns = min(now, seconds * 1_000_000_000 + nanoseconds + self._clock.offset_ns)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.close()

    # httptools calls these.

    def on_url(self, url: bytes) -> None:
        self._incoming.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._incoming.body += data
        if len(self._incoming.body) > MOST_BODY:
            self.close()

    def on_message_complete(self) -> None:
        incoming, self._incoming = self._incoming, Incoming()
        incoming.method = self._parser.get_method().decode()
        incoming.keep_alive = self._parser.should_keep_alive()
        incoming.received_ns = self._read_ns
        if not self.closed:
            self._asked(self, incoming)
