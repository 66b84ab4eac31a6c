"""One experiment: connect, encode, let the engine send, and note what belongs beside its records."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fmbench.benchmark.cases import Asked
from fmbench.benchmark.drawing import Drawn
from fmbench.benchmark.tokenizers import estimate_tokens
from fmbench.engine import Assignment, measure
from fmbench.interfaces import Endpoint, Invoker
from fmbench.load import conversing
from fmbench.recording import RecordLog, part_of
from fmbench.types import Prompt
from fmbench.workers import Job, Measured, Team, encoded, observed

__all__ = ["Payloads", "Seat", "Settings", "measure_experiment", "planned_requests"]

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
    workers: int = 1


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

    def write(self, lines: Sequence[bytes]) -> int:
        """Append the requests unless they stand there already; the line (from 0) of the first one."""
        text = b"".join(lines)
        if text not in self.first_lines:
            with self.path.open("ab") as file:
                file.write(text)
            self.first_lines[text] = self.lines
            self.lines += len(lines)
        return self.first_lines[text]


def planned_requests(one: Asked, prompts: Sequence[Prompt], warmup: int | None) -> int | None:
    """How many requests an experiment has, warm-up included; ``None`` where only time ends it."""
    load = conversing(one.load, prompts)
    total = load.total(load.arranged(prompts))
    return None if total is None else total + one.load.warmup(warmup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where one experiment is measured, and what becomes of what is measured."""

    endpoint: Endpoint
    invoker: Invoker
    settings: Settings
    log: RecordLog
    log_path: Path
    payloads: Payloads
    team: Team | None
    on_records: Callable[[Sequence[Any]], None]
    whole_records: bool


async def measure_experiment(
    one: Asked, entry: dict[str, Any], seat: Seat, *, drawn: Drawn, id_prefix: str, origin_ns: int, done: Collection[int]
) -> Measured:
    """Measure one experiment and fill in its entry of ``run.json``."""
    settings, load = seat.settings, conversing(one.load, drawn.prompts)
    assignment = Assignment(
        experiment=one.name,
        id_prefix=id_prefix,
        load=load,
        prompts=_needed(load.arranged(drawn.prompts), planned_requests(one, drawn.prompts, settings.warmup)),
        requests=(),
        warmup=one.load.warmup(settings.warmup),
        origin_ns=origin_ns,
        estimate=estimate_tokens,
        done=done,
        measured_ns=sum(end - start for start, end in entry["windows"]),
        request_timeout_seconds=settings.request_timeout_seconds,
        drain_seconds=settings.drain_seconds,
        stop_on_errors=settings.stop_on_errors,
        keep_text=settings.keep_text,
        parameters=one.parameters,
        max_new_tokens=one.parameters.max_new_tokens,
    )
    entry["warmup"] = assignment.warmup
    if seat.team is None:
        return await _measure_here(one, entry, seat, assignment)
    measured = await _measure_in_workers(one, entry, seat, seat.team, assignment)
    entry |= measured.facts
    return measured


async def _measure_here(one: Asked, entry: dict[str, Any], seat: Seat, assignment: Assignment) -> Measured:
    async with seat.invoker.connect(seat.endpoint, concurrency=assignment.concurrency) as session:
        requests, lines = encoded(session, assignment)
        _note_payloads(one, entry, seat, list(lines.values()))
        async with observed(session, entry) as paced:
            outcome = await measure(
                session,
                replace(assignment, requests=requests),
                seat.log,
                now=time.perf_counter_ns,
                alarm=paced,
                on_records=seat.on_records,
            )
    return Measured(outcome)


async def _measure_in_workers(one: Asked, entry: dict[str, Any], seat: Seat, team: Team, assignment: Assignment) -> Measured:
    """No more workers than there are streams, or places under ``max_concurrency``."""
    count = min(team.count, one.load.streams or assignment.max_concurrency or team.count)
    jobs = []
    for worker in range(count):
        share = replace(assignment, worker=worker, workers=count, stop_on_errors=sys.maxsize)
        jobs.append(
            Job(
                invoker=seat.invoker,
                endpoint=seat.endpoint,
                concurrency=share.concurrency,
                assignment=share,
                log=part_of(seat.log_path, worker),
            )
        )
    return await team.measure(
        jobs,
        seat.log,
        stop_on_errors=assignment.stop_on_errors,
        on_ready=lambda lines: _note_payloads(one, entry, seat, [lines[place] for place in sorted(lines)]),
        on_records=seat.on_records,
        whole_records=seat.whole_records,
    )


def _note_payloads(one: Asked, entry: dict[str, Any], seat: Seat, lines: Sequence[bytes]) -> None:
    entry["payload_first_line"] = seat.payloads.write(lines)
    first = lines[0].decode(errors="replace").rstrip()
    more = f" … ({len(first)} characters)" if len(first) > LOGGED_CHARACTERS else ""
    logger.info("%s: the first request as it is sent: %s%s", one.name, first[:LOGGED_CHARACTERS], more)


def _needed(prompts: Sequence[Prompt], planned: int | None) -> Sequence[Prompt]:
    """The prompts that will be sent: those beyond the plan need no encoding."""
    return prompts if planned is None else prompts[: max(1, planned)]
