"""For which rates a report tells how many instances are needed, and by which limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from fmbench import SLO

if TYPE_CHECKING:
    from fmbench import AdviceTable, Result

__all__ = ["NO_LIMIT", "nice_rates", "rates_for", "read_as", "readable", "slo_of"]

NO_LIMIT = 1e9
"""A limit that everything keeps to: stands for an SLO where the run has none."""


def slo_of(result: Result) -> SLO:
    """The run's SLO; without one, limits on the highest of the usual percentiles that is known, which everything keeps to."""
    if result.slo is not None:
        return result.slo
    known = any(one.latency.p95 is not None for one in result.experiments)
    return SLO(latency_p95_seconds=NO_LIMIT) if known else SLO(latency_p50_seconds=NO_LIMIT)


def read_as(limit: str) -> str:
    """``Latency p95`` for ``latency_p95_seconds``."""
    label = next(iter(SLO(**{limit: 1.0}).labels().values())).removesuffix(" (s)")
    return label[0].upper() + label[1:]


def nice_rates(each: float, count: int = 6) -> list[float]:
    """Rates of 1, 2 and 5 times a power of ten, from about half of what one instance does.

    Args:
        each: What one instance does a minute.
        count: How many rates.
    """
    power = math.floor(math.log10(each / 2))
    rates = [factor * 10.0**exponent for exponent in range(power, power + count) for factor in (1, 2, 5)]
    return [float(f"{rate:.6g}") for rate in rates if rate >= each / 2 * 0.999][:count]


def rates_for(result: Result) -> AdviceTable | None:
    """How many instances of each candidate serve each of some rates; ``None`` where there is no SLO, or no experiment."""
    if result.slo is None or not result.experiments:
        return None
    each = [one.requests_per_minute for one in result.advise().candidates if one.requests_per_minute]
    return result.advise(requests_per_minute=nice_rates(max(each, default=60.0)))


def readable(text: str) -> str:
    """A sentence with its limits in words: ``latency p95`` for ``latency_p95_seconds``."""
    return re.sub(r"\b(latency|response|service|ttft|itl|tpot)_(mean|p\d+(?:_\d+)?)_seconds", _spoken, text).replace(
        "error_rate", "the error rate"
    )


def _spoken(found: re.Match[str]) -> str:
    return next(iter(SLO(**{found[0]: 1.0}).labels().values())).removesuffix(" (s)")
