"""One HTTP/1.1 connection over a socket with a persistent reader and kernel arrival times."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httptools

from fmbench.errors import InvokeError
from fmbench.wire.clock import KernelClock
from fmbench.wire.tls import Tls

__all__ = ["Connection", "Sink", "stamp_arrivals"]

READ_BYTES = 65536
HEADER_BYTES = 65536
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
# Linux's SO_TIMESTAMPNS, which is also the type of the message that brings the stamp; `socket` names it from 3.14 on.
_SO_TIMESTAMPNS = 35 if sys.platform == "linux" else None


class Sink(Protocol):
    """Who is told what happens to a request; ``fmbench.Exchange`` is one."""

    id: str
    kernel: bool

    def sent(self, at: int | None = None) -> None: ...
    def spent(self, connect_ns: int = 0, tls_ns: int = 0, sign_ns: int = 0) -> None: ...
    def head(self, status: int, headers: Mapping[str, str], at: int | None = None) -> None: ...
    def piece(self, data: Any, at: int | None = None) -> None: ...


def stamp_arrivals(sock: socket.socket) -> bool:
    """Ask the kernel to stamp what arrives; whether it will."""
    if _SO_TIMESTAMPNS is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class Connection:
    """A connected socket, owned: ``close`` ends it. At most one request is on it at a time."""

    __slots__ = (
        "_clock", "_done", "_gone", "_head_bytes", "_headers", "_last_read", "_loop", "_parser", "_read_at", "_sink", "_sock",
        "_status", "_tls", "_unsent", "_until_close", "broke_its_word", "closed", "reusable", "served",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        clock: KernelClock,
        gone: Callable[[Connection], None],
        tls: Tls | None = None,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._clock = clock
        self._gone = gone
        self._tls = tls
        self._sink: Sink | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._status = 0
        self._until_close = False
        self._unsent: memoryview | None = None
        self._read_at: int | None = None
        self._last_read = time.perf_counter_ns()
        self.closed: bool = False
        self.reusable: bool = True
        self.served: bool = False
        """Whether it has brought a whole reply."""
        self.broke_its_word: bool = False
        """Whether the server closed it although its last reply promised to keep it."""
        loop.add_reader(sock.fileno(), self._readable)

    def exchange(self, data: bytes, sink: Sink) -> asyncio.Future[None]:
        """Send a request; the future is done when its reply is complete, and fails with ``InvokeError``."""
        self._sink = sink
        self._headers = {}
        self._head_bytes = 0
        self._until_close = False
        self._parser = httptools.HttpResponseParser(self)
        self._done = self._loop.create_future()
        if self._tls is not None:
            data = self._tls.encrypt(data)
        sink.sent()
        self._write(data)
        return self._done

    def close(self) -> None:
        """Close the socket; a reply still awaited is not told anything any more."""
        if self.closed:
            return
        self.closed = True
        self.reusable = False
        self._sink = None
        self._parser = None
        self._loop.remove_reader(self._sock.fileno())
        if self._unsent is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._unsent = None
        self._sock.close()
        self._gone(self)

    # Writing.

    def _write(self, data: bytes) -> None:
        try:
            count = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError as error:
            self._fail("reset", f"the connection was lost before the request was sent: {error.strerror or error}")
            return
        if count < len(data):
            self._unsent = memoryview(data)[count:]
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        rest = self._unsent
        if rest is None:
            return
        try:
            count = self._sock.send(rest)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail("reset", f"the connection was lost while the request was sent: {error.strerror or error}")
            return
        self._unsent = rest[count:] if count < len(rest) else None
        if self._unsent is None:
            self._loop.remove_writer(self._sock.fileno())

    # Reading.

    def _readable(self) -> None:
        entered = time.perf_counter_ns()
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_BYTES, _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        self._read_at = self._stamp(ancillary, entered)
        if len(data) < READ_BYTES:  # else some of what is left came before this read
            self._last_read = entered
        if not data:
            self._ended()
            return
        if self._tls is None:
            self._take(data)
            return
        try:
            for plain in self._tls.decrypt(data):
                self._take(plain)
        except ssl.SSLError as error:
            self._fail("protocol", f"TLS: {error.reason or error}")

    def _stamp(self, ancillary: list[tuple[int, int, bytes]], entered: int) -> int:
        """The kernel's time where there is one to be believed, else the reader's own, which the sink is told."""
        if ancillary:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            at: int = seconds * 1_000_000_000 + nanoseconds + self._clock.offset_ns
            # What the last read did not bring came after it: any other stamp was mapped across a step of the wall clock.
            if self._last_read - 1_000_000 < at <= time.perf_counter_ns():
                return at
        if self._sink is not None:
            self._sink.kernel = False
        return entered

    def _take(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            self.close()  # nobody asked: a server that talks out of turn
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, InvokeError):
                self._fail(cause.kind, cause.message)
            else:
                self._fail("protocol", f"the reply is not valid HTTP/1.1: {error}")

    def _lost(self, why: str) -> None:
        where = "in the middle of the reply" if self._head_bytes else "before the reply"
        self._fail("reset", f"the connection was lost {where}: {why}")

    def _ended(self) -> None:
        if self._until_close and self._sink is not None:
            self.reusable = False
            self._complete()
        elif self._sink is not None:
            if self.served and not self._head_bytes:
                self._lost("the server closed it although it had promised to keep it; set keep_alive=False")
            self._lost("the server closed it")
        self.broke_its_word = self.served and self.reusable and not self.closed
        self.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._sink is None:
            self.reusable = False  # a second reply that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEADER_BYTES:
            raise InvokeError("protocol", f"the reply's headers are longer than {HEADER_BYTES} bytes")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser is None or self._sink is None:
            return
        self._status = self._parser.get_status_code()
        self._head_bytes = self._head_bytes or 1
        if self._status < 200:
            self._headers = {}
            return
        headers = self._headers
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", ""}:
            raise InvokeError("protocol", f"the reply is compressed ({encoding}) although identity was asked for", self._status)
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._until_close = not chunked and "content-length" not in headers and self._status not in {204, 304}
        if not self._parser.should_keep_alive() or headers.get("connection", "").lower() == "close":
            self.reusable = False
        self._sink.head(self._status, headers, self._read_at)

    def on_body(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.piece(data, self._read_at)

    def on_message_complete(self) -> None:
        if self._status >= 200 and self._sink is not None:
            self._complete()

    def _complete(self) -> None:
        done, self._done = self._done, None
        self.served = True
        self._sink = None
        self._parser = None
        if self._unsent is not None:
            self.reusable = False  # the server answered before it had the whole request
        if done is not None and not done.done():
            done.set_result(None)

    def _fail(self, kind: str, message: str) -> None:
        done, self._done = self._done, None
        self.close()
        if done is not None and not done.done():
            done.set_exception(InvokeError(kind, message, self._status or None))
