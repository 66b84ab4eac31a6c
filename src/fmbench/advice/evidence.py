"""What one probe says about one limit: by how much it is kept or broken, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from fmbench.advice.slo import SLO, statistic_of
from fmbench.metrics.correlation import Blocks, block_correlation, blocks_of, effective_size, ratio_error
from fmbench.metrics.distribution import requests_needed
from fmbench.metrics.laws import share_interval, student_quantile
from fmbench.metrics.limits import MOST_ERRORS, quantile_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Evidence", "Values", "evidence_of", "limits_of", "requests_for"]

UNSETTLED = 0.3
"""The correlation of neighbouring blocks' latencies above which a probe was too short."""
FEWEST_OVER = 3
"""A probe that amounts to so few requests that fewer than this many may be over the limit was too short, too."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """One metric of a probe's requests, in the order in which they were due.

    Args:
        seconds: The values end to end: one a request, or, for ITL, one a gap.
        failed: Which requests failed, or took longer than was waited for: over any limit of a percentile.
        owners: The request that each value belongs to; ``None`` where each that did not fail has exactly one.
        open_load: Whether a queue could build up without bound.
    """

    seconds: NDArray[np.float64]
    failed: NDArray[np.bool_]
    owners: NDArray[np.int64] | None = None
    open_load: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One limit against one probe.

    A percentile's limit is a statement about a share: ``latency_p95_seconds=5`` holds where at most 5 % of the requests take
    longer than 5 seconds. So is ``error_rate``. A mean's limit is one about a mean.

    Args:
        name: The limit, ``latency_p95_seconds`` or the like.
        limit: Its value.
        requests: How many requests say so.
        value: The statistic as it was measured, failures counted as longer than any limit; ``None`` where it is not known.
        reason: Why it is not known.
        allowed: The share of requests that may be over the limit; ``None`` for a mean.
        share: The share that was.
        size: To how many independent requests the probe amounts.
        mean: The mean with its error, for a limit on a mean.
        settled: Whether the probe was long enough for its queue to settle. Where it was not, it began better than it would have
            gone on, so that it may break the limit but cannot keep it.
    """

    name: str
    limit: float
    requests: int
    value: float | None = None
    reason: str | None = None
    allowed: float | None = None
    share: float = 0.0
    size: float = 0.0
    mean: Blocks | None = None
    settled: bool = True

    @property
    def leans(self) -> bool:
        """Whether the limit was kept in this very probe, by however little."""
        if self.allowed is None:
            return self.mean is not None and self.mean.value <= self.limit
        return self.requests > 0 and self.share <= self.allowed

    def holds(self, confidence: float) -> bool | None:
        """Whether the limit is kept; ``None`` where the probe cannot tell with this confidence (two-sided)."""
        return _verdict(self, confidence)

    @property
    def telling(self) -> float:
        """To how many independent requests the probe amounts when it is weighed against others."""
        return self.size * _for_freedom(0.95, self.requests)

    def share_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Between which bounds the share of requests over the limit lies.

        Clopper and Pearson's interval on the effective number of requests, as Korn and Graubard (1998) have it for clustered
        samples; the clusters are blocks of neighbouring requests.
        """
        size = self.size * _for_freedom(confidence, self.requests)
        return share_interval(self.share * size, size, confidence) if size > 0 else (0.0, 1.0)


@lru_cache(maxsize=1024)
def _verdict(one: Evidence, confidence: float) -> bool | None:
    if one.allowed == 0:
        return None if not one.requests else one.share == 0
    if one.allowed is None:
        low, high = (0.0, math.inf) if one.mean is None else one.mean.interval(confidence)
        limit = one.limit
    else:
        (low, high), limit = one.share_interval(confidence), one.allowed
    return False if low > limit else True if high <= limit and one.settled else None


@lru_cache(maxsize=1024)
def _for_freedom(confidence: float, requests: int) -> float:
    """By how much an effective size shrinks because it rests on a few blocks only: (z / t)²."""
    tail = (1 + confidence) / 2
    return (_NORMAL.inv_cdf(tail) / student_quantile(tail, blocks_of(requests) - 1)) ** 2


def limits_of(slo: SLO) -> Mapping[str, float]:
    """The limits a load is held to: the SLO's, and the error rate that every SLO implies."""
    return {**slo.as_dict(), "error_rate": slo.as_dict().get("error_rate", MOST_ERRORS)}


def requests_for(slo: SLO) -> int:
    """The fewest requests a probe has: enough, half as much again, for each percentile to be reported."""
    quantiles = [quantile_of(statistic_of(name)[1]) for name in slo.as_dict() if name != "error_rate"]
    errors = limits_of(slo)["error_rate"]
    quantiles.append(1 - errors if 0 < errors < 0.5 else None)
    return max(200, *(3 * requests_needed(q) // 2 for q in quantiles if q is not None))


def evidence_of(name: str, limit: float, values: Values) -> Evidence:
    """Hold a probe's values against one limit.

    Args:
        name: ``latency_p95_seconds`` or the like, or ``error_rate``.
        limit: The most that is allowed.
        values: The metric's values; for ``error_rate`` only ``failed`` counts.
    """
    import numpy as np  # noqa: PLC0415 - loading numpy starts threads, and `import fmbench` starts none

    requests = len(values.failed)
    if name == "error_rate":
        failed = values.failed.astype(np.float64)
        return _of_share(name, limit, limit, (failed, np.ones(requests)), float(failed.mean()) if requests else None)
    quantile = quantile_of(statistic_of(name)[1])
    if not len(values.seconds) and not values.failed.any():
        return Evidence(
            name=name, limit=limit, requests=0, allowed=None if quantile is None else 1 - quantile, reason="no request has it"
        )
    if quantile is None:
        return _of_mean(name, limit, values)
    over, under = _counted(values, limit)
    ordered = np.sort(np.concatenate([values.seconds, np.full(round(float(under.sum())) - len(values.seconds), np.inf)]))
    statistic = float(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])
    own, _ = _counted(values, statistic)
    found = _of_share(name, limit, 1 - quantile, (over, under), statistic)
    size = min(found.size, effective_size(own, under, requests))
    return replace(found, size=size, settled=_settled(values) and size * (1 - quantile) >= FEWEST_OVER)


def _counted(values: Values, limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many values of each request are over a limit, and how many it has; a failed request's are all over."""
    import numpy as np  # noqa: PLC0415 - as above

    requests = len(values.failed)
    owners = np.flatnonzero(~values.failed) if values.owners is None else values.owners
    under = np.bincount(owners, minlength=requests).astype(np.float64)
    over = np.bincount(owners, weights=values.seconds > limit, minlength=requests).astype(np.float64)
    usual = float(under[under > 0].mean()) if (under > 0).any() else 1.0
    under[values.failed] = over[values.failed] = max(1.0, round(usual))
    return over, under


def _of_share(
    name: str, limit: float, allowed: float, counted: tuple[NDArray[np.float64], NDArray[np.float64]], value: float | None
) -> Evidence:
    over, under = counted
    requests = int((under > 0).sum())
    share = float(over.sum() / under.sum()) if requests else 0.0
    size = effective_size(over, under, requests)
    return Evidence(name=name, limit=limit, requests=requests, value=value, allowed=allowed, share=share, size=size)


def _settled(values: Values) -> bool:
    """Whether the probe was long beside what happens in its queue; a closed load's queue is bounded and settles at once."""
    import numpy as np  # noqa: PLC0415 - as above

    if not values.open_load:
        return True
    return block_correlation(np.log(np.maximum(values.seconds, 1e-9))) <= UNSETTLED


def _of_mean(name: str, limit: float, values: Values) -> Evidence:
    import numpy as np  # noqa: PLC0415 - as above

    requests = len(values.failed)
    owners = np.flatnonzero(~values.failed) if values.owners is None else values.owners
    under = np.bincount(owners, minlength=requests).astype(np.float64)
    over = np.bincount(owners, weights=values.seconds, minlength=requests).astype(np.float64)
    mean = ratio_error(over, under)
    return Evidence(
        name=name, limit=limit, requests=requests, mean=mean, value=None if mean is None else mean.value,
        reason=None if mean is not None else "too few requests", settled=_settled(values),
    )  # fmt: skip
