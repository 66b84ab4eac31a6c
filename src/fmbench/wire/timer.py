"""Wakes a loop at an absolute time, closer than its own timers do, which count in milliseconds.

On Linux that is a timer of the kernel (``timerfd``), a file that the loop watches beside its sockets; Python has it from 3.13.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable

__all__ = ["Timer"]

_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_SPIN_NS = 1_500_000
"""Where the system has no timer of its own to wait for: from here on the loop turns without sleeping."""
_itimerspec = struct.Struct("@llll")


class Timer:
    """One timer; ``close`` ends it. Times are nanoseconds of ``time.perf_counter_ns``.

    Args:
        loop: Whom to wake.
        ring: Called at the time or a little later, never before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._at: int | None = None
        self._handle: asyncio.Handle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._timer = -1
        if self._libc is not None:
            self._timer = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if self._timer < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create failed")
            loop.add_reader(self._timer, self._rung)

    def set(self, at_ns: int | None) -> None:
        """Ring at this time instead of any other; ``None`` for never."""
        if at_ns == self._at:
            return
        self._at = at_ns
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if at_ns is not None and at_ns <= time.perf_counter_ns():
            self._handle = self._loop.call_soon(self._rung)
        elif self._libc is None:
            self._wait()
        else:
            seconds, nanoseconds = divmod(at_ns or 0, 1_000_000_000)  # a time of 0 disarms it
            value = ctypes.create_string_buffer(_itimerspec.pack(0, 0, seconds, nanoseconds))
            self._libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, value, None)

    def close(self) -> None:
        """Never ring again."""
        self.set(None)
        if self._timer >= 0:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _wait(self) -> None:
        if self._at is None:
            return
        left = self._at - time.perf_counter_ns()
        if left <= 0:
            self._rung()
        elif left <= _SPIN_NS:
            self._handle = self._loop.call_soon(self._wait)
        else:
            self._handle = self._loop.call_later((left - _SPIN_NS) / 1e9, self._wait)

    def _rung(self) -> None:
        if self._timer >= 0:
            with contextlib.suppress(BlockingIOError):
                os.read(self._timer, 8)
        if self._at is not None and time.perf_counter_ns() >= self._at:
            self._at = self._handle = None
            self._ring()
