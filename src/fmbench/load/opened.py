"""Open loads: requests are due by the clock, whatever becomes of the earlier ones."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from fmbench.load.planned import Planned, check_count, check_positive, check_stop, prompt_of, total_of
from fmbench.types import Prompt

__all__ = ["ConstantRate", "Gamma", "Opened", "Poisson", "Ramp"]


class Opened:
    """What open loads share. Warm-up requests go at equal distances, so that what is measured is the same with and without."""

    __slots__ = ()
    requests: int | None
    seconds: float | None
    max_concurrency: int | None

    def __post_init__(self) -> None:
        self._check()
        check_stop(self)
        if self.max_concurrency is not None:
            check_count("max_concurrency", self.max_concurrency)
        check_count("seed", getattr(self, "seed", 0), least=0)  # None would draw another plan in each worker

    @property
    def streams(self) -> None:
        return None

    def arranged(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        return prompts

    def total(self, prompts: Sequence[Prompt]) -> int | None:
        return total_of(self, prompts)

    def warmup(self, asked: int | None) -> int:
        return 10 if asked is None else asked

    def plan(self, prompts: Sequence[Prompt], *, warmup: int, stream: int = 0) -> Iterator[Planned]:  # noqa: ARG002 - it has one
        gap = 1 / self._warmup_per_second(prompts)
        for number in range(warmup):
            yield Planned(number, prompt_of(number, warmup, prompts), False, number * gap)
        for number, offset in enumerate(self._ending(prompts), warmup):
            yield Planned(number, prompt_of(number, warmup, prompts), True, warmup * gap + offset)

    def sending_seconds(self, prompts: Sequence[Prompt] | None, *, warmup: int) -> float | None:
        if prompts is None and self.requests is None and self.seconds is None:
            return None
        known = () if prompts is None else prompts
        number, last = 0, 0.0
        for number, last in enumerate(self._ending(known), 1):  # noqa: B007 - the last one is what is wanted
            pass
        # Where the requests run out first, sending ends with the last one; else it ends with the seconds.
        measured = last if self.seconds is None or number == self.total(known) else self.seconds
        return warmup / self._warmup_per_second(known) + measured

    def _ending(self, prompts: Sequence[Prompt]) -> Iterator[float]:
        """The measured requests' due times, counted from the first one's, to where the load stops."""
        for offset in islice(self._offsets(prompts), self.total(prompts)):
            if self.seconds is not None and offset >= self.seconds:
                return
            yield offset

    def _check(self) -> None:
        raise NotImplementedError

    def _warmup_per_second(self, prompts: Sequence[Prompt]) -> float:
        raise NotImplementedError

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:
        """The same without an end."""
        raise NotImplementedError


class _Steady(Opened):
    """An open load with one rate."""

    __slots__ = ()
    per_second: float

    def _check(self) -> None:
        check_positive("per_second", self.per_second)

    def _warmup_per_second(self, prompts: Sequence[Prompt]) -> float:  # noqa: ARG002 - an open load's
        return self.per_second


@dataclass(frozen=True, slots=True)
class ConstantRate(_Steady):
    """Requests at equal distances, whatever becomes of the earlier ones."""

    per_second: float
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        return f"{self.per_second:g}/s"

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:  # noqa: ARG002 - an open load's
        return (number / self.per_second for number in count())


@dataclass(frozen=True, slots=True)
class Poisson(_Steady):
    """Requests as independent users send them: exponential gaps, from a seed."""

    per_second: float
    seed: int = 0
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        return f"Poisson {self.per_second:g}/s"

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:  # noqa: ARG002 - an open load's
        return (spent / self.per_second for spent in _units(self.seed))


@dataclass(frozen=True, slots=True)
class Gamma(_Steady):
    """Requests with gaps that are gamma distributed, from a seed.

    Args:
        per_second: The mean rate.
        shape: 1 is Poisson; below, requests come in bursts; above, they come more evenly. The coefficient of variation of
            the gaps is ``1 / sqrt(shape)``.
        seed: Another one gives other gaps.
        requests: Stop after so many.
        seconds: Stop after so long.
        max_concurrency: The most in flight.
    """

    per_second: float
    shape: float
    seed: int = 0
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        return f"Gamma {self.per_second:g}/s, shape {self.shape:g}"

    def _check(self) -> None:
        check_positive("per_second", self.per_second)
        check_positive("shape", self.shape)

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:  # noqa: ARG002 - an open load's
        draw = random.Random(self.seed)  # noqa: S311 - a load plan, not cryptography
        at = 0.0
        while True:
            yield at
            at += draw.gammavariate(self.shape, 1 / (self.shape * self.per_second))


@dataclass(frozen=True, slots=True)
class Ramp(Opened):
    """Requests as independent users send them, at a rate that goes evenly from one value to another.

    It is a Poisson process whose rate changes, from a seed: arrivals of a unit rate, taken through the inverse of the
    expected number of requests until a time (Lewis and Shedler's time-scale transformation). Warm-up goes at the first rate.

    Args:
        start_per_second: The rate at the first measured request.
        end_per_second: The rate at the end of the ramp, and after it.
        over_seconds: How long the ramp takes; without, the whole measured part: ``seconds``, or as long as the planned
            requests take on average.
        seed: Another one gives other gaps.
        requests: Stop after so many.
        seconds: Stop after so long.
        max_concurrency: The most in flight.
    """

    start_per_second: float
    end_per_second: float
    over_seconds: float | None = None
    seed: int = 0
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        over = "" if self.over_seconds is None else f" in {self.over_seconds:g} s"
        return f"ramp {self.start_per_second:g}/s to {self.end_per_second:g}/s{over}"

    def _check(self) -> None:
        check_positive("start_per_second", self.start_per_second)
        check_positive("end_per_second", self.end_per_second)
        if self.over_seconds is not None:
            check_positive("over_seconds", self.over_seconds)

    def _warmup_per_second(self, prompts: Sequence[Prompt]) -> float:  # noqa: ARG002 - an open load's
        return self.start_per_second

    def _length(self, prompts: Sequence[Prompt]) -> float:
        given = self.over_seconds if self.over_seconds is not None else self.seconds
        if given is not None:
            return given
        return 2 * (self.total(prompts) or 0) / (self.start_per_second + self.end_per_second)

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:
        length, first, last = self._length(prompts), self.start_per_second, self.end_per_second
        expected = (first + last) / 2 * length
        for spent in _units(self.seed):
            if spent >= expected:
                yield length + (spent - expected) / last
            else:
                # Solves first * t + (last - first) * t² / (2 * length) = spent, without the loss of digits of the usual form.
                yield 2 * spent / (first + math.sqrt(first * first + 2 * (last - first) * spent / length))


def _units(seed: int) -> Iterator[float]:
    """A Poisson process of rate 1, from a seed; its first arrival is at 0."""
    draw = random.Random(seed)  # noqa: S311 - a load plan, not cryptography
    at = 0.0
    while True:
        yield at
        at += draw.expovariate(1.0)
