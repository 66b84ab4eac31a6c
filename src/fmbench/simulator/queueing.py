"""Servers at which a request's own time is known as soon as it starts: textbook queues, and constant times."""

from __future__ import annotations

import heapq
import random
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fmbench.simulator.service import Dealt, Job

__all__ = ["Course", "QueueingService", "constant", "deterministic", "exponential"]


class Course(NamedTuple):
    """How one request will go, from its start: the first token, and from there to the last one at equal distances."""

    first_ns: int
    rest_ns: int

    def token_ns(self, index: int, tokens: int) -> int:
        """When the token comes, from the start."""
        return self.first_ns + self.rest_ns * index // max(1, tokens - 1)


def constant(ttft_ns: int, itl_ns: int) -> Callable[[Job], Course]:
    """The same first wait and the same gaps for all."""
    return lambda job: Course(ttft_ns, itl_ns * (job.output_tokens - 1))


def deterministic(service_ns: float) -> Callable[[Job], Course]:
    """The same time for each request, its tokens spread over it."""
    return lambda job: _spread(service_ns, job)


def exponential(service_ns: float, seed: int) -> Callable[[Job], Course]:
    """Exponential times, drawn in the order of the requests' coming."""
    draw = random.Random(seed)  # noqa: S311 - a model, not cryptography
    return lambda job: _spread(draw.expovariate(1.0) * service_ns, job)


def _spread(length_ns: float, job: Job) -> Course:
    length = round(length_ns)
    first = length // job.output_tokens
    return Course(first, length - first)


class QueueingService:
    """What ``Fixed`` and ``Queueing`` start.

    Args:
        servers: How many serve; ``None`` for as many as there are requests.
        course: How long each request takes.
    """

    def __init__(self, *, servers: int | None, course: Callable[[Job], Course]) -> None:
        self._servers = servers
        self._course = course
        self._count = 0
        self._last_ready = 0
        self._clock = -1
        self._waiting: deque[tuple[Job, Course]] = deque()
        self._ending: list[tuple[int, int, Job]] = []
        """A heap of who is served, by their end."""
        self._courses: dict[Job, Course] = {}
        self._giving: list[tuple[int, int, int, Job]] | None = None
        """A heap of next tokens (time, job's number, token's index), kept from the first ``step`` on."""

    def submit(self, at_ns: int, *, prompt_tokens: int, output_tokens: int) -> Job:
        self._last_ready = max(at_ns, self._last_ready)
        job = Job(self._count, at_ns, self._last_ready, prompt_tokens, output_tokens)
        self._count += 1
        course = self._course(job)
        if self._servers is not None and len(self._ending) >= self._servers:
            self._waiting.append((job, course))
        else:
            self._start(job, course, job.ready_ns)
        return job

    def cancel(self, job: Job, at_ns: int) -> None:
        if job.over:
            return
        job.cancel(at_ns)
        if job.started_ns is None:
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not job)
            return
        self._ending = [entry for entry in self._ending if entry[2] is not job]
        heapq.heapify(self._ending)
        del self._courses[job]
        self._take_next(at_ns)

    def next_ns(self) -> int | None:
        giving = self._tokens_to_come()
        return giving[0][0] if giving else None

    def next_end_ns(self) -> int | None:
        return self._ending[0][0] if self._ending else None

    def step(self, until_ns: int) -> Dealt | None:
        giving = self._tokens_to_come()
        if not giving or giving[0][0] > until_ns:
            return None
        at, dealt = giving[0][0], []
        while giving and giving[0][0] == at and giving[0][3].cancelled_ns is None:
            dealt.append(heapq.heappop(giving))
        self._clock = at
        for _, _, index, job in dealt:
            if index + 1 < job.output_tokens:
                self._give(giving, job, index + 1)  # perhaps for the same moment, which then comes again
        self._end_all({job for _, _, index, job in dealt if index + 1 == job.output_tokens})
        return Dealt(at, [job for _, _, _, job in dealt])

    def advance(self, until_ns: int) -> Sequence[Job]:
        if not self._ending or self._ending[0][0] > until_ns:
            return ()
        at, ended = self._ending[0][0], []
        self._clock = at
        while self._ending and self._ending[0][0] == at:
            ended.append(self._end_one())
        return ended

    def _start(self, job: Job, course: Course, at_ns: int) -> None:
        job.started_ns = at_ns
        job.told_by(_times_of(job, course, at_ns))
        self._courses[job] = course
        heapq.heappush(self._ending, (at_ns + course.token_ns(job.output_tokens - 1, job.output_tokens), job.number, job))
        if self._giving is not None:
            self._give(self._giving, job, 0)

    def _end_one(self) -> Job:
        at, _, job = heapq.heappop(self._ending)
        job.ended_ns = at
        del self._courses[job]
        self._take_next(at)
        return job

    def _end_all(self, jobs: set[Job]) -> None:
        """These have got their last token; others of the same moment may have some to come."""
        others = []
        while jobs:
            if self._ending[0][2] in jobs:
                jobs.remove(self._end_one())
            else:
                others.append(heapq.heappop(self._ending))
        for entry in others:
            heapq.heappush(self._ending, entry)

    def _take_next(self, at_ns: int) -> None:
        if self._waiting:
            job, course = self._waiting.popleft()
            self._start(job, course, max(at_ns, job.ready_ns))

    def _give(self, giving: list[tuple[int, int, int, Job]], job: Job, index: int) -> None:
        at = (job.started_ns or 0) + self._courses[job].token_ns(index, job.output_tokens)
        heapq.heappush(giving, (at, job.number, index, job))

    def _tokens_to_come(self) -> list[tuple[int, int, int, Job]]:
        if self._giving is None:
            self._giving = []
            for _, _, job in self._ending:
                given = sum(time <= self._clock for time in job.times_ns)
                self._give(self._giving, job, given)
        while self._giving and self._giving[0][3].cancelled_ns is not None:
            heapq.heappop(self._giving)
        return self._giving


def _times_of(job: Job, course: Course, start_ns: int) -> Callable[[], array[int]]:
    tokens = job.output_tokens
    return lambda: array("q", [start_ns + course.token_ns(index, tokens) for index in range(tokens)])
