"""When requests are due: closed and open loads, as pure, seeded plans."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple, Protocol, runtime_checkable

from fmbench.errors import ConfigError

__all__ = ["Concurrency", "ConstantRate", "Load", "Planned", "Poisson"]

LEAST_REQUESTS = 130
"""The requests that a 95th percentile needs (MLPerf's early-stopping bound at 99 % confidence)."""


class Planned(NamedTuple):
    """One request as planned."""

    number: int
    """Counted over warm-up and measured requests together."""
    prompt: int
    """Which prompt of the set it sends."""
    measured: bool
    due_seconds: float | None
    """From the start of sending; ``None`` in a closed load, where it is due when its stream is free."""


@runtime_checkable
class Load(Protocol):
    """When requests are due. ``streams`` is how many a closed load keeps in flight, ``None`` for an open one."""

    @property
    def streams(self) -> int | None: ...
    @property
    def requests(self) -> int | None: ...
    @property
    def seconds(self) -> float | None: ...
    def total(self, prompts: int) -> int | None:
        """How many measured requests there are for a set of so many prompts; ``None`` where only time ends them."""
        ...

    def plan(self, prompts: int, *, warmup: int, stream: int = 0) -> Iterator[Planned]:
        """The requests of one stream (an open load has the one stream 0), warm-up first. May be endless: time ends it."""
        ...

    def warmup(self, asked: int | None) -> int:
        """How many warm-up requests go first, ``asked`` being the user's word."""
        ...


def _check_stop(load: Load) -> None:
    if load.requests is not None and load.requests < 1:
        raise ConfigError(f"requests must be 1 or more, not {load.requests}")
    if load.seconds is not None and not load.seconds > 0:
        raise ConfigError(f"seconds must be above 0, not {load.seconds}")


def _total(load: Load, prompts: int) -> int | None:
    if load.requests is None and load.seconds is None:
        return max(prompts, LEAST_REQUESTS)
    return load.requests


def _prompt_of(number: int, warmup: int, prompts: int) -> int:
    """Measured requests take the prompts in order; warm-up takes them from the end, where they are the last to come again."""
    return (number - warmup) % prompts


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Keep ``n`` requests in flight: each of ``n`` streams sends its next request when its last one has ended.

    Without ``requests`` and ``seconds`` each prompt is sent once, and at least 130 requests are.
    """

    n: int
    requests: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"concurrency must be 1 or more, not {self.n}")
        _check_stop(self)

    def __str__(self) -> str:
        return f"concurrency {self.n}"

    @property
    def streams(self) -> int:
        return self.n

    def total(self, prompts: int) -> int | None:
        return _total(self, prompts)

    def warmup(self, asked: int | None) -> int:
        return self.n if asked is None else asked

    def plan(self, prompts: int, *, warmup: int, stream: int = 0) -> Iterator[Planned]:
        total = self.total(prompts)
        for number in count(stream, self.n) if total is None else range(stream, warmup + total, self.n):
            yield Planned(number, _prompt_of(number, warmup, prompts), number >= warmup, None)


class _Open:
    """What open loads share: a sequence of gaps, and where it ends."""

    __slots__ = ()
    per_second: float
    requests: int | None
    seconds: float | None

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and math.isfinite(self.per_second)):
            raise ConfigError(f"per_second must be above 0, not {self.per_second}")
        _check_stop(self)

    @property
    def streams(self) -> None:
        return None

    def total(self, prompts: int) -> int | None:
        return _total(self, prompts)

    def warmup(self, asked: int | None) -> int:
        return 10 if asked is None else asked

    def plan(self, prompts: int, *, warmup: int, stream: int = 0) -> Iterator[Planned]:  # noqa: ARG002 - it has one
        total = self.total(prompts)
        due, start = 0.0, 0.0
        gaps = self._gaps()
        for number in islice(count(), None if total is None else warmup + total):
            if number == warmup:
                start = due
            if number >= warmup and self.seconds is not None and due - start >= self.seconds:
                return
            yield Planned(number, _prompt_of(number, warmup, prompts), number >= warmup, due)
            due += next(gaps)

    def _gaps(self) -> Iterator[float]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ConstantRate(_Open):
    """Requests at equal distances, whatever becomes of the earlier ones."""

    per_second: float
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        return f"{self.per_second:g}/s"

    def _gaps(self) -> Iterator[float]:
        while True:
            yield 1 / self.per_second


@dataclass(frozen=True, slots=True)
class Poisson(_Open):
    """Requests as independent users send them: exponential gaps, from a seed."""

    per_second: float
    seed: int = 0
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        return f"Poisson {self.per_second:g}/s"

    def _gaps(self) -> Iterator[float]:
        draw = random.Random(self.seed)  # noqa: S311 - a load plan, not cryptography
        while True:
            yield draw.expovariate(self.per_second)
