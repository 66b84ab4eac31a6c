"""What every engine has around it, in the benchmark's own process and in a worker's."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from fmbench.engine import Alarm, accounted, alarm
from fmbench.interfaces import Session
from fmbench.types import Parameters, Prompt, Request

__all__ = ["encoded", "observed", "payload_line"]

YOUNG = 20_000
"""How many objects are made between two looks at them."""
NEVER = 2**31 - 1


def encoded(session: Session, prompts: Sequence[Prompt], parameters: Parameters) -> list[Request]:
    """The requests, in the prompts' order; off the clock."""
    return [session.encode(prompt, parameters) for prompt in prompts]


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
