"""The engine for an assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fmbench.engine.conversing import ConversingEngine
from fmbench.engine.flight import Assignment
from fmbench.engine.outcome import Log, Outcome
from fmbench.engine.pacing import Alarm
from fmbench.engine.sending import Engine
from fmbench.interfaces import Session
from fmbench.load import Conversing
from fmbench.types import Record

__all__ = ["engine_for", "measure"]


def engine_for(assignment: Assignment) -> type[Engine]:
    """The kind of engine that it needs."""
    return ConversingEngine if isinstance(assignment.load, Conversing) else Engine


async def measure(
    session: Session,
    assignment: Assignment,
    log: Log,
    *,
    now: Callable[[], int],
    alarm: Alarm | None = None,
    on_records: Callable[[Sequence[Record]], None] = lambda _: None,
) -> Outcome:
    """Drive one session with one load and log every request.

    Args:
        session: Where to send.
        assignment: What to send, and when.
        log: Where records go, at most half a second after they are made.
        now: The clock, in nanoseconds; sleeping goes by anyio, so that both may be virtual.
        alarm: Waits for due times; without one, as exactly as the loop's own timers can.
        on_records: Told of each batch that was logged.
    """
    make = engine_for(assignment)
    return await make(session, assignment, log, now=now, alarm=alarm, on_records=on_records).run()
