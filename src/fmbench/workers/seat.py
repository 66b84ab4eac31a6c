"""What every engine has around it, in the benchmark's own process and in a worker's."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from fmbench.engine import Alarm, Assignment, accounted, alarm, as_planned
from fmbench.interfaces import Session
from fmbench.types import Request

__all__ = ["encoded", "observed", "payload_line"]

YOUNG = 20_000
"""How many objects are made between two looks at them."""
NEVER = 2**31 - 1


_NOTHING = Request(payload=None)


def encoded(
    session: Session, assignment: Assignment, needed: Collection[int] | None = None
) -> tuple[list[Request], dict[int, bytes]]:
    """The requests in the prompts' order, and their payloads' lines by the prompts' places; off the clock.

    A conversation's later turns have a line, with a name in place of each answer, and no request yet.

    Args:
        session: What encodes them.
        assignment: Whose prompts.
        needed: The places of those that will be sent; all, where it is not known.
    """
    requests, lines = [], {}
    for place, prompt in enumerate(as_planned(assignment.prompts)):
        request = _NOTHING
        if needed is None or place in needed:
            request = session.encode(prompt, assignment.parameters)
            lines[place] = payload_line(request.payload)
        requests.append(request if prompt.after is None else _NOTHING)
    return requests, lines


def payload_line(payload: Any) -> bytes:
    """A request's line in ``payload.jsonl``."""
    return orjson.dumps(payload, default=repr, option=orjson.OPT_NON_STR_KEYS) + b"\n"


@asynccontextmanager
async def observed(session: Session, facts: dict[str, Any]) -> AsyncGenerator[Alarm]:
    """Measure in quiet, with an alarm for due times; ``facts`` is filled with what the process observed about itself."""
    noted: dict[str, Any] = {}
    try:
        with _quiet(), alarm() as paced:
            async with accounted(session) as noted:
                yield paced
    finally:
        facts |= noted


@contextmanager
def _quiet() -> Generator[None]:
    """Spare the loop the garbage collector's long passes, of 10 to 30 ms at 512 streams.

    Young objects are still looked through: what measuring makes itself holds no cycles, but a stranger's client may.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
