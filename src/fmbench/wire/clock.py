"""The kernel stamps arrivals with the wall clock; everything here is measured with ``time.perf_counter_ns``."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from array import array

__all__ = ["ANCILLARY_BYTES", "KernelClock", "Stamping", "stamp_arrivals"]

SANDWICHES = 20
"""One reading between two of the other clock may err by 29 µs; the narrowest of twenty erred by 0.3 at most."""
STAMPING_SECONDS = 0.1
"""How long to wait for the kernel to begin stamping; it takes well under a millisecond."""
# Linux's SO_TIMESTAMPNS, which is also the type of the message that brings the stamp; `socket` names it from 3.14 on.
_SO_TIMESTAMPNS = 35 if sys.platform == "linux" else None
ANCILLARY_BYTES: int = socket.CMSG_SPACE(16) if hasattr(socket, "CMSG_SPACE") else 0
"""Room for one stamp, which is a ``struct timespec``."""


class KernelClock:
    """The offset from the kernel's wall clock to ours, sampled again and again: steps of the wall clock move it.

    It also keeps how long the kernel took to take each request, which is how far off the moment of sending may be.
    """

    __slots__ = ("offset_ns", "step_ns", "writes_ns", "written_at")

    def __init__(self) -> None:
        self.offset_ns: int = measured_offset()
        self.step_ns: int = 0
        """The largest change between two samples: how far off a stamp between them may be mapped."""
        self.writes_ns: array[float] = array("f")
        """From just before ``sent`` until the kernel had the request, four bytes each: exact enough."""
        self.written_at: int = 0
        """When the last of these began."""

    @property
    def write_delay_ns(self) -> int | None:
        """The 99th percentile of these; ``None`` before the first request."""
        writes = sorted(self.writes_ns)
        return round(writes[len(writes) * 99 // 100]) if writes else None

    def sample(self) -> None:
        """Measure the offset anew."""
        offset = measured_offset()
        self.step_ns = max(self.step_ns, abs(offset - self.offset_ns))
        self.offset_ns = offset


def measured_offset() -> int:
    """What to add to ``CLOCK_REALTIME`` to get ``time.perf_counter_ns``, in nanoseconds."""
    best_width, best = None, 0
    for _ in range(SANDWICHES):
        before = time.perf_counter_ns()
        wall = time.time_ns()
        after = time.perf_counter_ns()
        if best_width is None or after - before < best_width:
            best_width, best = after - before, (before + after) // 2 - wall
    return best


def stamp_arrivals(sock: socket.socket) -> bool:
    """Ask the kernel to stamp what arrives; whether it will."""
    if _SO_TIMESTAMPNS is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class Stamping:
    """Keeps the kernel stamping while it is open.

    The kernel stamps packets only while some socket wants it, and begins a little after the first one does: what arrives
    between has no stamp. So one socket wants it all the time, and ``begun`` waits until it shows.
    """

    def __init__(self) -> None:
        self._holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wanted = stamp_arrivals(self._holder)

    async def begun(self) -> bool:
        """Wait until what arrives is stamped; whether it is."""
        end = time.monotonic() + STAMPING_SECONDS
        while self._wanted:
            try:
                if _arrives_stamped():
                    return True
            except OSError:
                return False  # no loopback interface to try it on
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.001)
        return False

    def close(self) -> None:
        """Let the kernel rest."""
        self._holder.close()


def _arrives_stamped() -> bool:
    """Send one byte over the loopback interface and see."""
    with socket.socket() as listener, socket.socket() as receiver:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.settimeout(STAMPING_SECONDS)
        stamp_arrivals(receiver)
        receiver.settimeout(STAMPING_SECONDS)
        receiver.connect(listener.getsockname())
        sender, _ = listener.accept()
        with sender:
            sender.send(b"x")
            _, ancillary, _, _ = receiver.recvmsg(1, ANCILLARY_BYTES)
            return bool(ancillary)
