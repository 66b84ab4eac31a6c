"""Waiting for a due time: never before it, and hardly after it, without a whole processor for the waiting.

A loop's own timers are a millisecond coarse. The kernel's are not (``timerfd``): such a timer is a file that the loop watches
beside its sockets. It wakes the loop a little early, by what waking up takes on an idle core, and the rest of the time the
loop turns without sleeping, its sockets read at every turn.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from anyio import sleep
from anyio.lowlevel import checkpoint

__all__ = ["Alarm", "CoarseAlarm", "KernelAlarm", "alarm"]

COARSE_NS = 1_500_000
"""How far a loop's own timers may err."""
LEAD_SHARE = 10
"""The loop turns without sleeping for at most a tenth of the time, …"""
MOST_LEAD_NS = 200_000
"""… and for no longer than a core takes to wake up that has long been idle."""
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class Alarm(Protocol):
    """Waits for instants of the engine's clock, in two steps, so that what is to be done then can be got ready between them."""

    async def sleep_close_to(self, at: int) -> None:
        """Sleep until waking up would be dearer than waiting; at once where ``at`` is past. One task at a time."""
        ...

    async def wait_until(self, at: int) -> None:
        """Wait for what is left: return at ``at`` or a little later, never before."""
        ...


class CoarseAlarm:
    """An alarm by the loop's timers.

    Args:
        now: The clock; a virtual one is exact.
        coarse_ns: How far before its time the loop stops to sleep and turns.
    """

    def __init__(self, now: Callable[[], int], coarse_ns: int = 0) -> None:
        self._now = now
        self._coarse = coarse_ns

    async def sleep_close_to(self, at: int) -> None:
        while (left := at - self._coarse - self._now()) > 0:  # noqa: ASYNC110 - there is no event but time
            await sleep(left / 1e9)

    async def wait_until(self, at: int) -> None:
        while self._now() < at:
            await checkpoint()


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: an interval, which is not used, and when to ring."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class KernelAlarm:
    """An alarm by a timer of the kernel, for one waiting task at a time; ``close`` ends it.

    Raises:
        OSError, AttributeError: this platform has none.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # ``os.timerfd_create`` is only there from Python 3.13 on, and waits in seconds as a float.
        self._library = ctypes.CDLL(None, use_errno=True)
        self._file: int = self._library.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _TimerSpec()
        self._rung: asyncio.Future[None] | None = None
        self._loop.add_reader(self._file, self._ring)

    async def sleep_close_to(self, at: int) -> None:
        left = at - time.perf_counter_ns()
        lead = min(left // LEAD_SHARE, MOST_LEAD_NS)
        if left > lead > 0:
            await self._sleep_until(at - lead)

    async def wait_until(self, at: int) -> None:
        while time.perf_counter_ns() < at:  # noqa: ASYNC110 - turning is the point
            await asyncio.sleep(0)

    def close(self) -> None:
        """Give the timer back."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    async def _sleep_until(self, at: int) -> None:
        self._rung = rung = self._loop.create_future()
        self._spec.seconds, self._spec.nanoseconds = divmod(at, 1_000_000_000)
        self._library.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(self._spec), None)
        await rung

    def _ring(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return  # it was set anew in the meantime
        rung, self._rung = self._rung, None
        if rung is not None and not rung.done():
            rung.set_result(None)


@contextmanager
def alarm() -> Generator[Alarm]:
    """The best alarm for ``time.perf_counter_ns`` on the running asyncio loop."""
    if sys.platform != "linux":
        yield CoarseAlarm(time.perf_counter_ns, COARSE_NS)
        return
    kernel = KernelAlarm()
    try:
        yield kernel
    finally:
        kernel.close()
