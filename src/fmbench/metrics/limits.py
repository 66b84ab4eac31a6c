"""The limits that an SLO sets to a single request, and how many failures anybody puts up with."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MOST_ERRORS", "Limit", "quantile_of"]

MOST_ERRORS = 0.05
"""The error rate above which an experiment is not believed, nor recommended unless the SLO itself allows more."""


class Limit(NamedTuple):
    """The most that one metric of one request may be."""

    metric: str
    """``latency``, ``response_latency``, ``service_latency``, ``ttft``, ``itl`` or ``tpot``."""
    statistic: str
    """``mean`` or a percentile such as ``p95``, ``p99_9``: of the request's own gaps for ITL; of one value, every statistic is
    the value."""
    seconds: float


def quantile_of(statistic: str) -> float | None:
    """The quantile that a statistic's name stands for: 0.95 for ``p95``, 0.999 for ``p99_9``; ``None`` for ``mean``."""
    return None if statistic == "mean" else float(statistic.removeprefix("p").replace("_", ".")) / 100
