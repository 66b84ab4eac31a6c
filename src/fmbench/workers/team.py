"""The workers of a run: started once, given a job for each experiment, ended with the run."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import CancelScope, create_task_group, sleep

from fmbench.engine import Outcome, worst_of
from fmbench.errors import ConfigError
from fmbench.recording import RecordLog, read_batches
from fmbench.types import Record
from fmbench.workers.following import Follower
from fmbench.workers.lost import records_of_lost
from fmbench.workers.member import Died, Member
from fmbench.workers.shipping import Job, main_program, packed_job

__all__ = ["Measured", "Team"]

FOLLOW_SECONDS = 0.5
"""How often the workers' logs are looked at."""
HEAD_START_SECONDS = 0.05
"""How long before the common beginning the workers are told of it."""


@dataclass(slots=True)
class Measured:
    """How an experiment went, all its workers together."""

    outcome: Outcome
    facts: dict[str, Any] = field(default_factory=dict)
    """The worst worker's observations of itself, and each one's under ``workers``."""
    died: list[str] = field(default_factory=list)
    """What is to be said of workers that died."""


class Team:
    """Up to ``count`` workers; ``open`` starts them, and they end with it.

    Args:
        count: How many there may be.
        loop: ``uvloop`` or ``asyncio``.
    """

    def __init__(self, count: int, *, loop: str) -> None:
        self.count = count
        self._loop = loop
        self._main: Any = None
        self._members: list[Member] = []

    @asynccontextmanager
    async def open(self, parts: Mapping[str, bytes]) -> AsyncGenerator[Team]:
        """Start the workers and let one try to unpack the parts.

        Raises:
            ConfigError: a part cannot be made in a worker.
        """
        if any(b"__main__" in data for data in parts.values()):
            self._main = main_program()
        try:
            self._members += [Member(number, loop=self._loop, main=self._main) for number in range(self.count)]
            for member in self._members:
                await member.expect("up")
            for what, data in parts.items():
                await self._try(self._members[0], what, data)
            yield self
        finally:
            with CancelScope(shield=True):
                async with create_task_group() as group:
                    for member in self._members:
                        group.start_soon(member.end)

    async def measure(
        self,
        jobs: Sequence[Job],
        log: RecordLog,
        *,
        stop_on_errors: int,
        on_ready: Callable[[Mapping[int, bytes]], None],
        on_records: Callable[[Sequence[Any]], None],
        whole_records: bool,
    ) -> Measured:
        """Measure one experiment, each job in a worker of its own.

        Args:
            jobs: The shares.
            log: Where all records end up.
            stop_on_errors: The experiment stops when its first so many requests have all failed.
            on_ready: Told the payload lines by the prompts' places, before anything is sent.
            on_records: Told of new records about twice a second.
            whole_records: Whether it wants all of each record (``Record``), or what ``Seen`` has.
        """
        members = [await self._member(number) for number in range(len(jobs))]
        follower = Follower([job.log for job in jobs], whole=whole_records)
        work = _Work(members, jobs, follower, on_records, stop_on_errors, with_main=self._main is not None)
        try:
            on_ready(await work.prepare())
            await work.run()
        except BaseException:
            with CancelScope(shield=True):
                async with create_task_group() as group:
                    for member in members:
                        group.start_soon(member.give_up)
            work.finish(log, [])
            raise
        lost = work.account()
        work.finish(log, lost)
        return work.measured(len(lost))

    async def _member(self, number: int) -> Member:
        """A living worker, a new one where the old one has died."""
        member = self._members[number]
        if not member.alive:
            await member.end()
            member = self._members[number] = Member(number, loop=self._loop, main=self._main)
            await member.expect("up")
        return member

    async def _try(self, member: Member, what: str, data: bytes) -> None:
        await member.tell_much("try", data)
        try:
            await member.expect("tried")
        except ConfigError as error:
            raise ConfigError(f"workers: {what}: {error}") from None


class _Work:
    """One experiment in the workers' hands."""

    def __init__(
        self,
        members: Sequence[Member],
        jobs: Sequence[Job],
        follower: Follower,
        on_records: Callable[[Sequence[Any]], None],
        stop_on_errors: int,
        *,
        with_main: bool,
    ) -> None:
        self._members = members
        self._jobs = jobs
        self._follower = follower
        self._on_records = on_records
        self._stop_on_errors = stop_on_errors
        self._with_main = with_main
        self._begin: int | None = None
        self._start: int | None = None
        self._stopped: str | None = None
        self._ended: dict[int, tuple[Outcome, dict[str, Any]]] = {}
        self._died: dict[int, tuple[int, str]] = {}
        self._recorded = 0

    async def prepare(self) -> dict[int, bytes]:
        """Let all connect and encode; the payload lines."""
        lines: dict[int, bytes] = {}

        async def one(member: Member, job: Job) -> None:
            await member.tell_much("job", packed_job(job, with_main=self._with_main))
            lines.update(await member.expect("ready"))

        async with create_task_group() as group:
            for member, job in zip(self._members, self._jobs, strict=True):
                group.start_soon(one, member, job)
        return lines

    async def run(self) -> None:
        """Begin at one moment, and wait until all have ended."""
        self._begin = time.perf_counter_ns() + round(HEAD_START_SECONDS * 1e9)
        for member in self._members:
            member.tell("go", self._begin)
        async with create_task_group() as group:
            group.start_soon(self._keep_following)
            async with create_task_group() as waiting:
                for member in self._members:
                    waiting.start_soon(self._wait, member)
            group.cancel_scope.cancel()

    async def _wait(self, member: Member) -> None:
        try:
            while True:
                kind, value = await member.hear()
                if kind == "started":
                    self._hear_start(member, value)
                elif kind == "done":
                    self._ended[member.number] = value
                elif kind == "idle":
                    return
        except Exception as error:  # noqa: BLE001 - one that fails is as good as dead; the others go on
            how = member.how if isinstance(error, Died) else f"failed ({type(error).__name__}: {error})"
            self._died[member.number] = time.perf_counter_ns(), how

    def _hear_start(self, told_by: Member, at: int) -> None:
        """The window begins with the earliest: the others must know it, to end together."""
        if self._start is None or at < self._start:
            self._start = at
            for member in self._members:
                if member is not told_by:
                    member.tell("started", at)
        else:
            told_by.tell("started", self._start)

    async def _keep_following(self) -> None:
        while True:
            await sleep(FOLLOW_SECONDS)
            self.follow()

    def follow(self) -> None:
        """Tell of what is new in the logs, and stop an experiment whose first requests all fail."""
        self._on_records(self._follower.new())
        failed = self._follower.failed_first
        if failed >= self._stop_on_errors and self._stopped is None:
            self._stopped = f"the first {failed} requests all failed; the last one: {self._follower.last_error}"
            for member in self._members:
                member.tell("stop", self._stopped)

    def account(self) -> list[Record]:
        """Records of what workers that died have left of their shares."""
        lost: list[Record] = []
        for number, (at, how) in self._died.items():
            job = self._jobs[number]
            recorded = _numbers(job.log)
            self._recorded += len(recorded)
            lost += records_of_lost(job.assignment, recorded, begin=self._begin or at, died=at, how=how)
        return lost

    def finish(self, log: RecordLog, lost: Sequence[Record]) -> None:
        """Put all records into one log, and tell of the last ones."""
        self.follow()
        for job in self._jobs:
            log.take_in(job.log)
        log.append(lost)
        self._on_records(lost)

    def measured(self, lost: int) -> Measured:
        """All that is known at the end, when ``lost`` requests of workers that died have been accounted for."""
        outcomes = [outcome for outcome, _ in self._ended.values()]
        windows = [outcome.window for outcome in outcomes if outcome.window is not None]
        if not windows and self._start is not None and self._died:  # nobody is left to tell when sending ended
            origin = self._jobs[0].assignment.origin_ns
            windows = [(self._start - origin, max(at for at, _ in self._died.values()) - origin)]
        outcome = Outcome(
            window=(min(start for start, _ in windows), max(end for _, end in windows)) if windows else None,
            scheduled=sum(one.scheduled for one in outcomes) + self._recorded + lost,
            stopped=next((one.stopped for one in outcomes if one.stopped is not None), None),
        )
        died = [f"worker {number} {how}; what it had not recorded is lost" for number, (_, how) in self._died.items()]
        return Measured(outcome, self._facts(), died)

    def _facts(self) -> dict[str, Any]:
        known = [facts for _, facts in self._ended.values()]
        each = [
            {"worker": member.number, "pid": member.pid, "died": self._died.get(member.number, (0, None))[1]}
            | self._ended.get(member.number, (None, {}))[1]
            for member in self._members
        ]
        return (worst_of(known) if known else {}) | {"workers": each}


def _numbers(log: Path) -> set[int]:
    """The numbers of the requests that have a record in a worker's log."""
    batches = read_batches(log) if log.exists() else ()
    return {int(name.rsplit("-", 1)[1]) for batch in batches for name in batch.column("id").to_pylist()}
