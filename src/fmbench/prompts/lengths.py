"""How long prompts and replies are: a number, a range, or a distribution; and published figures of real workloads."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fmbench import ConfigError

__all__ = ["PROFILES", "Fixed", "LengthProfile", "Lengths", "LogNormal", "Normal", "Uniform", "lengths_of"]

P90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""


@dataclass(frozen=True)
class Fixed:
    """Always the same."""

    tokens: int

    def __post_init__(self) -> None:
        _check_span(self.tokens, self.tokens)

    def draw(self, source: random.Random) -> int:  # noqa: ARG002 - as the others
        return self.tokens


@dataclass(frozen=True)
class Uniform:
    """Every length from ``low`` to ``high`` alike, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_span(self.low, self.high)

    def draw(self, source: random.Random) -> int:
        return source.randint(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Normally distributed, drawn again until it is between ``low`` and ``high``."""

    mean: float
    std: float
    low: int = 1
    high: int | None = None

    def __post_init__(self) -> None:
        _check_span(self.low, self.high)
        if not self.std >= 0 or not self.low <= self.mean <= (math.inf if self.high is None else self.high):
            raise ConfigError(f"{self}: std must be 0 or more, and the mean between low and high")

    def draw(self, source: random.Random) -> int:
        return _within(self.low, self.high, lambda: source.gauss(self.mean, self.std))


@dataclass(frozen=True, kw_only=True)
class LogNormal:
    """Its logarithm is normally distributed, as lengths of real prompts are; drawn again until between ``low`` and ``high``.

    Args:
        median: The length that half are below.
        sigma: The standard deviation of the logarithm.
        low: The shortest.
        high: The longest.
    """

    median: float
    sigma: float
    low: int = 1
    high: int | None = None

    def __post_init__(self) -> None:
        _check_span(self.low, self.high)
        if not self.sigma >= 0 or not self.low <= self.median <= (math.inf if self.high is None else self.high):
            raise ConfigError(f"{self}: sigma must be 0 or more, and the median between low and high")

    def draw(self, source: random.Random) -> int:
        return _within(self.low, self.high, lambda: source.lognormvariate(math.log(self.median), self.sigma))


Lengths = Fixed | Uniform | Normal | LogNormal
_KINDS: Mapping[str, type[Any]] = {"fixed": Fixed, "uniform": Uniform, "normal": Normal, "lognormal": LogNormal}


def lengths_of(value: Any, what: str) -> Lengths:
    """A distribution out of a number, a ``(low, high)`` pair, ``{name: {its fields}}``, or one that is one already.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(value, Fixed | Uniform | Normal | LogNormal):
        return value
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return Fixed(value)
        if isinstance(value, list | tuple) and len(value) == 2:
            return Uniform(*value)
        if isinstance(value, Mapping) and len(value) == 1:
            [(name, fields)] = value.items()
            kind = _KINDS[name]
            made: Lengths = kind(**fields) if isinstance(fields, Mapping) else kind(*_listed(fields))
            return made
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None
    except (TypeError, KeyError):
        pass
    raise ConfigError(
        f"{what}: {value!r} is no length: give a number, [low, high], or one of {', '.join(_KINDS)} with its fields"
    )


def _listed(fields: Any) -> Sequence[Any]:
    return fields if isinstance(fields, list | tuple) else [fields]


def _check_span(low: Any, high: Any) -> None:
    if not isinstance(low, int) or low < 1 or (high is not None and (not isinstance(high, int) or high < low)):
        raise ConfigError(f"{low} to {high} tokens is no range: both are whole numbers from 1, the least first")


def _within(low: int, high: int | None, draw: Callable[[], float]) -> int:
    if low == high:
        return low
    for _ in range(1000):
        length = round(draw())
        if low <= length <= (length if high is None else high):
            return length
    raise ConfigError(f"hardly any length lies between {low} and {high}: widen low and high")


def _by_p90(median: int, p90: int, low: int = 1, high: int | None = None) -> LogNormal:
    return LogNormal(median=median, sigma=math.log(p90 / median) / P90, low=low, high=high)


class LengthProfile(NamedTuple):
    """Lengths of a kind of workload, and who published them."""

    prompt_tokens: Lengths
    output_tokens: Lengths
    source: str


PROFILES: Mapping[str, LengthProfile] = {
    "chat": LengthProfile(
        _by_p90(1730, 5696),
        _by_p90(415, 834),
        "openchat_sharegpt4: median and 90th percentile (Agrawal et al., Sarathi-Serve, OSDI 2024, table 2)",
    ),
    "summarise": LengthProfile(
        _by_p90(7059, 12985),
        _by_p90(208, 371),
        "arxiv_summarization: median and 90th percentile (Agrawal et al., Sarathi-Serve, OSDI 2024, table 2)",
    ),
    "code": LengthProfile(
        _by_p90(857, 5342),
        _by_p90(252, 1671),
        "tokens that a coding agent's step appends, and its output, without the prefix that is cached (give that as "
        "shared_prefix_tokens): median and 90th percentile (Zhu et al., TraceLab, arXiv 2606.30560, table 1, Claude)",
    ),
    "rag": LengthProfile(
        _by_p90(3214, 4087, 1050, 7710),
        _by_p90(236, 575, 7, 2180),
        "median and 90th percentile of 176 of the 7,106 requests, taken from three days; shortest and longest of all (Wang et "
        "al., RAGPulse, arXiv 2511.12979, data/0_trace.jsonl)",
    ),
}
"""The medians and spreads are the sources'; that lengths are log-normal is assumed."""
