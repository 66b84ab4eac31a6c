"""One HTTP/1.1 connection over a socket with a persistent reader and kernel arrival times."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable

from fmbench.errors import InvokeError
from fmbench.wire.clock import ANCILLARY_BYTES, KernelClock
from fmbench.wire.reply import Reply, Sink
from fmbench.wire.tls import Tls

__all__ = ["Connection"]

READ_BYTES = 65536
QUEUEING_NS = 1_000_000
"""How long before it could be read the kernel may have stamped a packet, its processor being busy."""
BREACH_NS = 1_000_000_000
"""A server that closes a connection so soon after a reply did not mean to keep it; later, it had been idle for too long."""
PUT_ASIDE_NS = 50_000
"""A write that took longer may have lost its processor meanwhile: then its processor time counts."""
WRITES_NS = 100_000
"""Of the writes within so long one is timed: looking at the processor's time takes 1 µs."""
_timespec = struct.Struct("@ll").unpack


class Connection:
    """A connected socket, owned: ``close`` ends it. At most one request is on it at a time."""

    __slots__ = (
        "_begun", "_clock", "_done", "_gone", "_last_read", "_loop", "_opened", "_poll", "_reply", "_sock", "_tls", "_unsent",
        "_write_error", "broke_its_word", "closed", "reusable", "served",
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
        self._reply: Reply | None = None
        self._done: asyncio.Future[None] | None = None
        self._unsent: bytes | memoryview = b""
        self._write_error: str | None = None
        self._opened = self._last_read = self._begun = time.perf_counter_ns()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.closed: bool = False
        self.reusable: bool = True
        self.served: bool = False
        """Whether it has brought a whole reply."""
        self.broke_its_word: bool = False
        """Whether the server closed it right after a reply that promised to keep it."""
        loop.add_reader(sock.fileno(), self._readable)

    @property
    def age_ns(self) -> int:
        """How long ago it was opened."""
        return time.perf_counter_ns() - self._opened

    def exchange(self, data: bytes, sink: Sink, *, head_only: bool = False) -> asyncio.Future[None]:
        """Send a request; the future is done when its reply is complete, and fails with ``InvokeError``."""
        self._reply = Reply(sink, head_only=head_only)
        self._done = done = self._loop.create_future()
        if self._tls is not None:
            data = self._tls.encrypt(data)
        self._last_read = self._begun = begun = time.perf_counter_ns()  # no reply can have come before
        if begun - self._clock.written_at < WRITES_NS:
            sink.sent()
            self._write(data)
        else:
            self._write_timed(data, sink)
        return done

    def _write_timed(self, data: bytes, sink: Sink) -> None:
        """Write, and note how long that took."""
        self._clock.written_at = self._begun
        cpu = time.thread_time_ns()
        sink.sent()
        self._write(data)
        if not self._unsent:
            took = time.perf_counter_ns() - self._begun
            # The kernel wakes whoever waits for the request, who then may get our processor: it has the request by then.
            self._clock.writes_ns.append(took if took < PUT_ASIDE_NS else min(took, time.thread_time_ns() - cpu))

    def is_open(self) -> bool:
        """Whether an idle connection can be used; notices what its server did while the loop was busy."""
        if not self.closed and self._poll.poll(0):
            self._readable()
        return not self.closed

    def close(self, why: str = "the client was closed") -> None:
        """Close the socket; a request still under way fails."""
        if self.closed:
            return
        self.closed = True
        self.reusable = False
        self._loop.remove_reader(self._sock.fileno())
        if self._unsent:
            self._loop.remove_writer(self._sock.fileno())
            self._unsent = b""
        self._sock.close()
        self._settle(InvokeError("reset", why))
        self._gone(self)

    def _settle(self, failure: Exception | None) -> None:
        """The request under way is over."""
        reply, self._reply = self._reply, None
        done, self._done = self._done, None
        if reply is not None:
            reply.end()
        if done is None or done.done():
            return
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)

    def _fail(self, failure: Exception) -> None:
        self._settle(failure)
        self.close()

    # Writing.

    def _write(self, data: bytes) -> None:
        if self._unsent:
            self._unsent = bytes(self._unsent) + data
            return
        count = self._sent(data)
        if count is not None and count < len(data):
            self._unsent = memoryview(data)[count:]
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        count = self._sent(self._unsent)
        if count is None or count == len(self._unsent):
            self._unsent = b""
            self._loop.remove_writer(self._sock.fileno())
            self._clock.writes_ns.append(time.perf_counter_ns() - self._begun)
        else:
            self._unsent = self._unsent[count:]

    def _sent(self, data: bytes | memoryview) -> int | None:
        """How many bytes the kernel took; ``None`` when it takes no more for ever.

        The reader tells what becomes of the request then: a server may have answered before it closed.
        """
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.reusable = False
            self._write_error = error.strerror or str(error)
            return None

    # Reading.

    def _readable(self) -> None:
        entered = time.perf_counter_ns()
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not data:
            self._ended(entered)
            return
        at = self._stamp(ancillary, entered)
        if len(data) < READ_BYTES:  # else some of what is left came before this read
            self._last_read = entered
        if self._tls is None:
            self._take(data, at)
        else:
            self._take_records(self._tls, data, at)

    def _stamp(self, ancillary: list[tuple[int, int, bytes]], entered: int) -> int:
        """The kernel's time where there is one to be believed, else the reader's own, which the sink is told."""
        if ancillary:
            seconds, nanoseconds = _timespec(ancillary[0][2])
            at: int = seconds * 1_000_000_000 + nanoseconds + self._clock.offset_ns
            # What the last read did not bring came after it: any other stamp was mapped across a step of the wall clock.
            if self._last_read - QUEUEING_NS < at <= time.perf_counter_ns():
                return at
        if self._reply is not None:
            self._reply.sink.kernel = False
        return entered

    def _take(self, data: bytes, at: int) -> None:
        reply = self._reply
        if reply is None:
            self.close()  # nobody asked: a server that talks out of turn
            return
        try:
            reply.feed(data, at)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the request's, not the loop's
            self._fail(error)
            return
        if reply.complete:
            self._complete(reply)

    def _take_records(self, tls: Tls, data: bytes, at: int) -> None:
        try:
            plain = tls.decrypt(data)
        except ssl.SSLError as error:
            self._fail(InvokeError("protocol", f"TLS: {error.reason or error}", self._status()))
            return
        if answer := tls.outgoing():
            self._write(answer)
        if plain:
            self._take(plain, at)
        if tls.ended and not self.closed:
            self._ended(at)

    def _complete(self, reply: Reply) -> None:
        self.served = True
        # A server that answered before it had the whole request cannot take another behind the rest of it.
        self.reusable = self.reusable and reply.reusable and not self._unsent
        self._settle(None)

    # The end of the connection.

    def _ended(self, at: int) -> None:
        """The server has closed its side."""
        reply = self._reply
        promised = self.served and self.reusable
        if reply is None:
            self.broke_its_word = promised and at - self._last_read < BREACH_NS
        elif reply.until_close and (self._tls is None or self._tls.ended):
            self.reusable = False
            self._complete(reply)
        elif promised and not reply.started:
            self.broke_its_word = True
            self._lost("the server closed it although it had promised to keep it; set keep_alive=False")
        else:
            self._lost("the server closed it")
        self.close()

    def _lost(self, why: str) -> None:
        reply = self._reply
        if reply is None or not reply.started:
            where = "before the reply"
        else:
            where = "in the middle of the reply" if reply.has_head else "in the reply's headers"
        if self._write_error is not None:
            why = f"{why}; the request could not be sent whole: {self._write_error}"
        self._fail(InvokeError("reset", f"the connection was lost {where}: {why}", self._status()))

    def _status(self) -> int | None:
        return None if self._reply is None else self._reply.status
