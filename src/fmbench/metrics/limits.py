"""The limits that an SLO sets to a single request, and how many failures anybody puts up with."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MOST_ERRORS", "Limit"]

MOST_ERRORS = 0.05
"""The error rate above which an experiment is not believed, nor recommended unless the SLO itself allows more."""


class Limit(NamedTuple):
    """The most that one metric of one request may be."""

    metric: str
    """``latency``, ``response_latency``, ``service_latency``, ``ttft``, ``itl`` or ``tpot``."""
    statistic: str
    """``p50 | p90 | p95 | p99 | mean``: of the request's own gaps for ITL; of one value, every statistic is the value."""
    seconds: float
