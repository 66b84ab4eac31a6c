"""What a measuring process observes about itself: how busy it was, how long it waited for a processor, how late its loop came.

It costs a wake-up every 20 ms and a few reads of ``/proc`` at either end.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anyio import create_task_group, sleep

from fmbench.interfaces import Session

__all__ = ["LoopLag", "accounted", "worst_of"]

PERIOD_SECONDS = 0.02
"""How often the loop is asked whether it is on time."""
GRAIN_NS = 1_100_000
"""A loop's own timers come up to 1 ms late, since it waits in whole milliseconds: as much is not held against it."""

Facts = dict[str, Any]


class LoopLag:
    """How late a loop comes to what is due at a moment that nobody chose.

    Moments lie ``PERIOD_SECONDS`` apart on the clock. A loop that was blocked over several of them is late for each: one
    wait of 100 ms counts as five, of 100, 80, … 20 ms, as five arrivals at those moments would have met it.

    Args:
        now: The clock, in nanoseconds; sleeping goes by anyio, so that both may be virtual.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._period = round(PERIOD_SECONDS * 1e9)
        self._due = now() + self._period
        self._lags_us = array("i")

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await sleep(max(0, self._due - self._now()) / 1e9)
            self._look()

    def facts(self) -> Facts | None:
        """``samples``, and the ``p50_ns``, ``p99_ns`` and ``max_ns`` of the lags so far; ``None`` where none was due yet.

        ``grain_ns`` is what was taken off each: shorter lags are not seen.
        """
        self._look()  # the loop may have been blocked until just now
        lags = sorted(self._lags_us)
        if not lags:
            return None
        p50, p99 = (lags[min(len(lags) * q // 100, len(lags) - 1)] for q in (50, 99))
        found = {"p50_ns": p50 * 1000, "p99_ns": p99 * 1000, "max_ns": lags[-1] * 1000}
        return {"samples": len(lags), **found, "grain_ns": GRAIN_NS}

    def _look(self) -> None:
        while (late := self._now() - self._due) >= 0:
            self._lags_us.append(min(max(0, late - GRAIN_NS) // 1000, 2**31 - 1))
            self._due += self._period


@asynccontextmanager
async def accounted(session: Session, *, now: Callable[[], int] = time.perf_counter_ns) -> AsyncGenerator[Facts]:
    """Account for what is done inside, in this thread; the facts, plain JSON, are there when it is left, however it is left.

    ``cpu``: ``process_seconds`` (of processor time, all threads), ``wall_seconds``, and ``pressure_percent``, the share of
    the time in which some task of this machine waited for a processor. ``queue``: ``waited_seconds`` during which this thread
    could run and did not, ``ran_seconds``, and ``timeslices``, how often it got a processor. ``loop_lag``: see ``LoopLag``.
    ``clock``: ``kernel``, whether arrivals have kernel time stamps, and what the session tells: ``offset_step_ns`` and
    ``write_delay_ns``. What is not known is ``None``.

    Args:
        session: Whose clock is looked at.
        now: The clock of the loop's lag, in nanoseconds.
    """
    facts: Facts = {}
    lag = LoopLag(now)
    before = _Reading.take()
    try:
        async with create_task_group() as group:
            group.start_soon(lag.watch)
            yield facts
            group.cancel_scope.cancel()
    finally:
        facts |= before.until(_Reading.take())
        step = getattr(session, "clock_step_ns", None)
        clock = {"kernel": step is not None, "offset_step_ns": step, "write_delay_ns": getattr(session, "write_delay_ns", None)}
        facts |= {"loop_lag": lag.facts(), "clock": clock}


def worst_of(several: Sequence[Mapping[str, Any]]) -> Facts:
    """One process's facts that stand for those of several workers or sittings: each part is that of the worst one.

    Args:
        several: As ``accounted`` made them; at least one.
    """
    return {
        "cpu": _worst([one["cpu"] for one in several], lambda cpu: cpu["process_seconds"] / (cpu["wall_seconds"] or 1.0)),
        "queue": _worst([one["queue"] for one in several], lambda queue: queue["waited_seconds"]),
        "loop_lag": _worst([one["loop_lag"] for one in several], lambda lag: lag["p99_ns"]),
        "clock": _worst_clock([one["clock"] for one in several]),
    }


def _worst(parts: Sequence[Facts | None], rank: Callable[[Facts], Any]) -> Facts | None:
    known = [part for part in parts if part is not None]
    return max(known, key=rank, default=None)


def _worst_clock(clocks: Sequence[Facts]) -> Facts:
    """Kernel stamps only where all have them; of each number the largest."""
    numbers = {
        name: max((clock[name] for clock in clocks if clock[name] is not None), default=None)
        for name in ("offset_step_ns", "write_delay_ns")
    }
    return {"kernel": all(clock["kernel"] for clock in clocks), **numbers}


class _Reading(NamedTuple):
    """The counters of the process, this thread and the machine at one moment."""

    process_seconds: float
    wall_seconds: float
    pressure_us: int | None
    queue: tuple[int, int, int] | None

    @classmethod
    def take(cls) -> _Reading:
        return cls(time.process_time(), time.perf_counter(), _pressure_us(), _schedstat())

    def until(self, after: _Reading) -> Facts:
        seconds = after.wall_seconds - self.wall_seconds
        pressed = None
        if self.pressure_us is not None and after.pressure_us is not None and seconds > 0:
            pressed = (after.pressure_us - self.pressure_us) / 1e4 / seconds
        queue = None
        if self.queue is not None and after.queue is not None:
            ran, waited, slices = (late - early for early, late in zip(self.queue, after.queue, strict=True))
            queue = {"waited_seconds": waited / 1e9, "ran_seconds": ran / 1e9, "timeslices": slices}
        cpu = {
            "process_seconds": after.process_seconds - self.process_seconds,
            "wall_seconds": seconds,
            "pressure_percent": pressed,
        }
        return {"cpu": cpu, "queue": queue}


def _pressure_us() -> int | None:
    """Microseconds during which some task of this machine waited for a processor; ``None`` where the kernel does not tell."""
    try:
        some = Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
    except (OSError, IndexError):
        return None
    return int(some.rsplit("total=", 1)[1])


def _schedstat() -> tuple[int, int, int] | None:
    """Nanoseconds that this thread ran, and that it waited for a processor, and its turns; ``None`` where it is not told."""
    try:
        ran, waited, slices = map(int, Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return (ran, waited, slices) if ran else None  # a kernel that does not count says 0 to all
