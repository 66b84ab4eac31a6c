"""Waiting for a due time: never before it, and hardly after it, without a whole processor for the waiting.

A loop's own timers are a millisecond coarse. The kernel's are not (``fmbench.wire.Timer``). One wakes the
loop a little early, by what waking up takes on an idle core, and the rest of the time the loop turns without sleeping, its
sockets read at every turn.
"""

from __future__ import annotations

import asyncio
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


class KernelAlarm:
    """An alarm by a timer of the kernel, for one waiting task at a time; ``close`` ends it."""

    def __init__(self) -> None:
        from fmbench.wire import Timer  # noqa: PLC0415 - `import fmbench` stays light

        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._ring)
        self._rung: asyncio.Future[None] | None = None

    async def sleep_close_to(self, at: int) -> None:
        left = at - time.perf_counter_ns()
        lead = min(left // LEAD_SHARE, MOST_LEAD_NS)
        if left > lead > 0:
            self._rung = rung = self._loop.create_future()
            self._timer.set(at - lead)
            await rung

    async def wait_until(self, at: int) -> None:
        while time.perf_counter_ns() < at:  # noqa: ASYNC110 - turning is the point
            await asyncio.sleep(0)

    def close(self) -> None:
        """Give the timer back."""
        self._timer.close()

    def _ring(self) -> None:
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
