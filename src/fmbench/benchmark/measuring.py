"""One experiment: connect, encode, let the engine send, and note what belongs beside its records."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from fmbench.benchmark.cases import Asked
from fmbench.benchmark.drawing import Drawn
from fmbench.benchmark.tokenizers import estimate_tokens
from fmbench.engine import Alarm, Assignment, Outcome, accounted, alarm, measure
from fmbench.interfaces import Endpoint, Invoker, Session
from fmbench.recording import RecordLog
from fmbench.types import Prompt, Record, Request

__all__ = ["Payloads", "Settings", "measure_experiment", "planned_requests"]

logger: logging.Logger = logging.getLogger(__name__)
LOGGED_CHARACTERS = 10_000
"""Of the first request, which may hold a whole book or an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a benchmark's experiments have in common."""

    warmup: int | None
    request_timeout_seconds: float
    drain_seconds: float
    stop_on_errors: int
    keep_text: bool


@dataclass(slots=True)
class Payloads:
    """``payload.jsonl``: each distinct set of requests once, in the prompts' order."""

    path: Path
    first_lines: dict[bytes, int] = field(default_factory=dict)
    lines: int = 0

    def take_up(self) -> None:
        """Make the file, or go on behind what an earlier sitting wrote."""
        self.path.touch()
        with self.path.open("rb") as file:
            self.lines = sum(1 for _ in file)

    def write(self, requests: Sequence[Request]) -> int:
        """Append the requests unless they stand there already; the line (from 0) of the first one."""
        text = b"".join(_line(request.payload) for request in requests)
        if text not in self.first_lines:
            with self.path.open("ab") as file:
                file.write(text)
            self.first_lines[text] = self.lines
            self.lines += len(requests)
        return self.first_lines[text]


def _line(payload: Any) -> bytes:
    return orjson.dumps(payload, default=repr, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def planned_requests(one: Asked, prompts: Sequence[Prompt], warmup: int | None) -> int | None:
    """How many requests an experiment has, warm-up included; ``None`` where only time ends it."""
    total = one.load.total(one.load.arranged(prompts))
    return None if total is None else total + one.load.warmup(warmup)


async def measure_experiment(
    one: Asked,
    entry: dict[str, Any],
    *,
    endpoint: Endpoint,
    invoker: Invoker,
    drawn: Drawn,
    settings: Settings,
    log: RecordLog,
    payloads: Payloads,
    id_prefix: str,
    origin_ns: int,
    done: frozenset[int],
    on_records: Callable[[Sequence[Record]], None],
) -> Outcome:
    """Measure one experiment and fill in its entry of ``run.json``."""
    warmup = one.load.warmup(settings.warmup)
    prompts = _needed(one.load.arranged(drawn.prompts), planned_requests(one, drawn.prompts, settings.warmup))
    concurrency = one.load.streams or getattr(one.load, "max_concurrency", None)
    async with invoker.connect(endpoint, concurrency=concurrency) as session:
        entry |= {"payload_first_line": payloads.write(requests := _encode(session, prompts, one)), "warmup": warmup}
        assignment = Assignment(
            experiment=one.name,
            id_prefix=id_prefix,
            load=one.load,
            prompts=prompts,
            requests=requests,
            warmup=warmup,
            origin_ns=origin_ns,
            estimate=estimate_tokens,
            done=done,
            measured_ns=sum(end - start for start, end in entry["windows"]),
            request_timeout_seconds=settings.request_timeout_seconds,
            drain_seconds=settings.drain_seconds,
            stop_on_errors=settings.stop_on_errors,
            keep_text=settings.keep_text,
            max_new_tokens=one.parameters.max_new_tokens,
        )
        async with _accounted(entry, session) as paced:
            return await measure(session, assignment, log, now=time.perf_counter_ns, alarm=paced, on_records=on_records)


def _needed(prompts: Sequence[Prompt], planned: int | None) -> Sequence[Prompt]:
    """The prompts that will be sent: those beyond the plan need no encoding."""
    return prompts if planned is None else prompts[: max(1, planned)]


def _encode(session: Session, prompts: Sequence[Prompt], one: Asked) -> list[Request]:
    requests = [session.encode(prompt, one.parameters) for prompt in prompts]
    first = _line(requests[0].payload).decode(errors="replace").rstrip()
    more = f" … ({len(first)} characters)" if len(first) > LOGGED_CHARACTERS else ""
    logger.info("%s: the first request as it is sent: %s%s", one.name, first[:LOGGED_CHARACTERS], more)
    return requests


@asynccontextmanager
async def _accounted(entry: dict[str, Any], session: Session) -> AsyncGenerator[Alarm]:
    """Measure in quiet, and note beside the records what this process observed about itself."""
    facts: dict[str, Any] = {}
    try:
        with _quiet(), alarm() as paced:
            async with accounted(session) as facts:
                yield paced
    finally:
        entry |= facts


@contextmanager
def _quiet() -> Generator[None]:
    """Spare the loop the garbage collector's passes, of 10 to 30 ms at 512 streams: what measuring makes holds no cycles."""
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
