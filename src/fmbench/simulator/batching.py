"""Continuous batching: a queue, a batch, prompts first. One list of step ends serves the token times of all jobs."""

from __future__ import annotations

import heapq
import random
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fmbench.simulator.service import Dealt, Job

__all__ = ["BatchingService"]


NEVER = 1 << 62


class _Planned(NamedTuple):
    """The step that comes next, as things stand."""

    start: int
    end: int
    prefill: bool


class BatchingService:
    """What ``Batching`` starts; see there for the rules.

    Every running job gets a token in every decode step, so a job's times are its first token and a slice of the steps'
    ends; and while nobody comes or ends, many steps are taken in one.
    """

    def __init__(
        self,
        *,
        prefill_ns: float,
        step_ns: float,
        sequence_ns: float,
        batch_limit: int,
        kv_tokens: int | None,
        jitter: float,
        seed: int,
    ) -> None:
        self._prefill_ns = prefill_ns
        self._step_ns = step_ns
        self._sequence_ns = sequence_ns
        self._batch_limit = batch_limit
        self._kv_tokens = kv_tokens
        self._jitter = jitter
        self._random = random.Random(seed)  # noqa: S311 - a model's noise, not cryptography
        self._factor = self._draw()
        self._ends = array("q")
        """When each decode step ended."""
        self._clock = 0
        """When the last settled step ended; the next one starts then, or when somebody comes."""
        self._count = 0
        self._last_ready = 0
        self._waiting: deque[Job] = deque()
        self._running: list[tuple[int, int, Job]] = []
        """A heap of jobs by the number of the decode step that ends them."""
        self._leaving: list[Job] = []
        self._held = 0
        """Tokens for which room is held."""

    def submit(self, at_ns: int, *, prompt_tokens: int, output_tokens: int) -> Job:
        self._last_ready = max(at_ns, self._last_ready)
        job = Job(self._count, at_ns, self._last_ready, prompt_tokens, output_tokens)
        self._count += 1
        if self._kv_tokens is not None and prompt_tokens + output_tokens > self._kv_tokens:
            job.refused = f"{prompt_tokens} + {output_tokens} tokens are more than the {self._kv_tokens} that the server holds"
        else:
            self._waiting.append(job)
        return job

    def cancel(self, job: Job, at_ns: int) -> None:
        if job.over:
            return
        job.cancel(at_ns)
        planned = self._plan()
        begun = planned is not None and planned.start < at_ns
        if job.started_ns is None and not (begun and planned is not None and planned.prefill and self._waiting[0] is job):
            self._waiting.remove(job)
            return
        self._leaving.append(job)
        if not begun:
            self._let_go()

    def next_ns(self) -> int | None:
        planned = self._plan()
        return None if planned is None else planned.end

    def next_end_ns(self) -> int | None:
        planned = self._plan()
        if planned is None:
            return None
        length = planned.end - planned.start
        return planned.start + self._alike(planned, length, NEVER) * length

    def step(self, until_ns: int) -> Dealt | None:
        planned = self._plan()
        if planned is None or planned.end > until_ns:
            return None
        jobs = [self._waiting[0]] if planned.prefill else [job for _, _, job in self._running]
        self._settle(planned, 1, planned.end - planned.start)
        return Dealt(planned.end, [job for job in jobs if job.cancelled_ns is None])

    def advance(self, until_ns: int) -> Sequence[Job]:
        while (planned := self._plan()) is not None and planned.end <= until_ns:
            length = planned.end - planned.start
            if ended := self._settle(planned, self._alike(planned, length, until_ns), length):
                return ended
        return ()

    def _plan(self) -> _Planned | None:
        start = self._clock
        if self._waiting:
            head = self._waiting[0]
            if not self._running:
                start = max(start, head.ready_ns)
            if head.ready_ns <= start and self._fits(head):
                return _Planned(start, start + round(self._factor * self._prefill_ns * head.prompt_tokens), True)
        if not self._running:
            return None
        length = self._factor * (self._step_ns + self._sequence_ns * len(self._running))
        return _Planned(start, start + round(length), False)

    def _fits(self, job: Job) -> bool:
        room = self._kv_tokens is None or self._held + job.prompt_tokens + job.output_tokens <= self._kv_tokens
        return room and len(self._running) < self._batch_limit

    def _alike(self, planned: _Planned, length: int, until_ns: int) -> int:
        """How many steps like this one follow each other: until a job ends, the next one may come in, or time is up."""
        if planned.prefill or self._jitter or self._leaving or not length:
            return 1
        most = min(self._running[0][0] - len(self._ends), (until_ns - planned.start) // length)
        if self._waiting and self._fits(self._waiting[0]):  # it has not come yet, or this would be its prompt's step
            most = min(most, -((planned.start - self._waiting[0].ready_ns) // length))
        return most

    def _settle(self, planned: _Planned, steps: int, length: int) -> list[Job]:
        """It has come to pass; the jobs that end by it."""
        self._clock = planned.start + steps * length
        if planned.prefill:
            self._take_in(self._waiting.popleft(), planned)
        else:
            self._ends.extend(range(planned.end, self._clock + 1, length) if steps > 1 else (planned.end,))
        ended = []
        while self._running and self._running[0][0] == len(self._ends):
            job = heapq.heappop(self._running)[2]
            self._held -= job.prompt_tokens + job.output_tokens
            if job.cancelled_ns is None:
                job.ended_ns = self._clock
                ended.append(job)
        self._let_go()
        self._factor = self._draw()
        return ended

    def _take_in(self, job: Job, planned: _Planned) -> None:
        job.started_ns = planned.start
        steps = len(self._ends)
        job.told_by(_times_of(job, planned.end, self._ends, steps))
        self._held += job.prompt_tokens + job.output_tokens
        heapq.heappush(self._running, (steps + job.output_tokens - 1, job.number, job))

    def _let_go(self) -> None:
        """Those who were cancelled leave, between two steps."""
        if not self._leaving:
            return
        leaving, self._leaving = set(self._leaving), []
        self._held -= sum(job.prompt_tokens + job.output_tokens for _, _, job in self._running if job in leaving)
        self._running = [entry for entry in self._running if entry[2] not in leaving]
        heapq.heapify(self._running)

    def _draw(self) -> float:
        """By how much the next step is longer than its model says, in the mean 1."""
        return self._random.lognormvariate(-self._jitter * self._jitter / 2, self._jitter) if self._jitter else 1.0


def _times_of(job: Job, first_ns: int, ends: array[int], steps: int) -> Callable[[], array[int]]:
    """Its first token, and the end of every decode step since."""

    def times() -> array[int]:
        told = array("q", [first_ns])
        told.extend(ends[steps : steps + job.output_tokens - 1])
        return told

    return times
