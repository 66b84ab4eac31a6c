"""The values of one metric, their exact quantiles, and how sure one may be of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fmbench.metrics.order import Order

__all__ = ["QUANTILES", "Distribution", "Figure", "asked_ranks", "order_statistics", "requests_needed"]

QUANTILES = (0.5, 0.9, 0.95, 0.99)
"""The quantiles that are reported: p50, p90, p95, p99."""

_RISK = 0.01
"""The risk that fewer than two of the requests lie beyond a quantile that is reported (MLPerf's early stopping at 99 %)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or why there is none."""

    value: float | None
    unit: str
    reason: str | None = None


def _check_quantile(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")


@lru_cache(maxsize=256)
def requests_needed(q: float) -> int:
    """The number of requests below which a quantile is not reported.

    It is the smallest n with P(Binomial(n, 1 - q) <= 1) <= 0.01: among n requests at least two lie beyond the quantile with
    99 % confidence, so that it is not the worst request seen. The rule is MLPerf's early stopping; a quantile below the
    median needs as many as its mirror image above. p50 needs 11 requests, p90 64, p95 130, p99 662.

    Args:
        q: The quantile, between 0 and 1.

    Returns:
        The number of requests.
    """
    _check_quantile(q)
    inside = max(q, 1 - q)

    def risk(n: int) -> float:
        return inside**n + n * (1 - inside) * inside ** (n - 1)

    enough = 2
    while risk(enough) > _RISK:
        enough *= 2
    low, high = enough // 2, enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if risk(middle) <= _RISK else (middle + 1, high)
    return low


@lru_cache(maxsize=256)
def order_statistics(n: int, q: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """The ranks between which a quantile lies, whatever the distribution, by the binomial law.

    The l-th smallest of n independent values lies above the true quantile with probability P(Binomial(n, q) <= l - 1), and
    the u-th smallest below it with P(Binomial(n, q) >= u); each is kept to half of ``1 - confidence``.

    Args:
        n: How many independent values there are.
        q: The quantile, between 0 and 1.
        confidence: With which probability, at least, the interval holds the true quantile.

    Returns:
        The two ranks, counted from 1; ``None`` where n values are too few for the two of them.
    """
    import numpy as np  # noqa: PLC0415 - loading numpy starts threads, and `import fmbench` starts none

    _check_quantile(q)
    # Twelve standard deviations to both sides of the mean: what lies beyond weighs nothing, and of a million most does.
    reach = 12 * math.sqrt(n * q * (1 - q)) + 12
    first, last = max(0, math.floor(n * q - reach)), min(n, math.ceil(n * q + reach))
    ways = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    successes = np.arange(first, last, dtype=np.float64)
    ratios = np.log((n - successes) / (successes + 1)) + math.log(q) - math.log1p(-q)
    logarithms = np.concatenate(([0.0], np.cumsum(ratios))) + (ways + first * math.log(q) + (n - first) * math.log1p(-q))
    at_most = np.cumsum(np.exp(logarithms))
    tail = (1 - confidence) / 2
    lower = first + int(np.searchsorted(at_most, tail, side="right"))
    upper = first + int(np.searchsorted(at_most, 1 - tail, side="left")) + 1
    return (lower, upper) if lower >= 1 and upper <= n else None


def asked_ranks(count: int, requests: int) -> list[int]:
    """The ranks of the values on which all that is reported stands: the ends, the quantiles and their intervals.

    Args:
        count: How many values there are.
        requests: From how many requests they come.

    Returns:
        Ranks counted from 0, in rising order.
    """
    if not count:
        return []
    ranks = {0, count - 1}
    for q in QUANTILES:
        if requests >= requests_needed(q):
            ranks |= {*_neighbours(count, q), *(_bounds(count, requests, q, 0.95) or ())}
    return sorted(ranks)


def _neighbours(count: int, q: float) -> tuple[int, int]:
    """The ranks, from 0, between which a quantile of so many values lies."""
    below = math.floor(q * (count - 1))
    return below, min(below + 1, count - 1)


def _bounds(count: int, requests: int, q: float, confidence: float) -> tuple[int, int] | None:
    """The ranks, from 0, of the values that bound a quantile: those of the requests, in proportion."""
    ranks = order_statistics(requests, q, confidence)
    if ranks is None:
        return None
    lower, upper = (-(-rank * count // requests) - 1 for rank in ranks)
    return lower, upper


def _between(low: float, high: float, share: float) -> float:
    """Linear interpolation as numpy does it, to the last bit: from the nearer end."""
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


class Distribution:
    """The values of one metric over an experiment.

    Quantiles are exact and interpolate linearly between the two nearest values, as ``numpy.quantile`` and pandas do; a
    quantile is ``None`` while there are fewer requests than ``requests_needed(q)``.

    Args:
        values: In the order of the records; one a request, or, for ITL, one a gap. Or an ``Order``, which has them elsewhere:
            those of a great run stay on disk.
        unit: Their unit.
        requests: From how many requests they come; as many as there are values unless told.
        reason: Why there is no value at all.
    """

    def __init__(
        self, values: NDArray[np.float64] | Order, unit: str, requests: int | None = None, reason: str | None = None
    ) -> None:
        import numpy as np  # noqa: PLC0415 - as above

        from fmbench.metrics.order import Held  # noqa: PLC0415 - as above

        self._order: Order = Held(values) if isinstance(values, np.ndarray) else values
        self._known: dict[int, float] = {}
        self.unit: str = unit
        self.count: int = self._order.count
        """How many values there are."""
        self.requests: int = self.count if requests is None else requests
        self.reason: str | None = reason

    def __repr__(self) -> str:
        shown = ", ".join(f"p{q * 100:g}={value:.6g}" for q in QUANTILES if (value := self.quantile(q)) is not None)
        return f"<Distribution of {self.count} values in {self.unit}{': ' + shown if shown else ''}>"

    @property
    def values(self) -> NDArray[np.float64]:
        """All values, in the order of the records.

        Above some ten thousand they are not held, but read from the run's folder each time they are asked for: 8 bytes a
        value, which is a gigabyte for the ITL of a million replies of 128 tokens.
        """
        return self._order.values()

    @property
    def mean(self) -> float | None:
        """Their arithmetic mean."""
        return self._order.mean if self.count else None

    @property
    def minimum(self) -> float | None:
        """The least of them."""
        return self._at([0])[0] if self.count else None

    @property
    def maximum(self) -> float | None:
        """The greatest of them."""
        return self._at([self.count - 1])[0] if self.count else None

    @property
    def p50(self) -> float | None:
        """The median."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float | None:
        """The 90th percentile."""
        return self.quantile(0.9)

    @property
    def p95(self) -> float | None:
        """The 95th percentile."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float | None:
        """The 99th percentile."""
        return self.quantile(0.99)

    def quantile(self, q: float) -> float | None:
        """The exact quantile, ``numpy.quantile(values, q)``; ``None`` where there are too few requests (``why_none`` says)."""
        return self.curve([q])[0] if self.requests >= requests_needed(q) and self.count else None

    def curve(self, shares: Sequence[float]) -> list[float]:
        """Many quantiles at once, of the values as they are, however few: what a cumulative chart shows.

        Args:
            shares: Which, each from 0 (the least value) to 1 (the greatest).

        Returns:
            ``numpy.quantile(values, shares)``; empty where there are no values.
        """
        if not self.count:
            return []
        pairs = [_neighbours(self.count, share) for share in shares]
        ends = iter(self._at([rank for pair in pairs for rank in pair]))
        return [
            _between(next(ends), next(ends), share * (self.count - 1) - below)
            for share, (below, _) in zip(shares, pairs, strict=True)
        ]

    def ranked(self, ranks: Sequence[int]) -> list[float]:
        """The values with these ranks, counted from 1 for the least. Of many values, many at once cost hardly more than one.

        Args:
            ranks: Each from 1 to ``count``.
        """
        return self._at([rank - 1 for rank in ranks])

    def interval(self, q: float, confidence: float = 0.95) -> tuple[float, float] | None:
        """Between which two values the true quantile lies.

        The bounds are two of the values themselves, chosen by ``order_statistics``. Several values of one request hang
        together, so an interval of ITL is that of as many independent values as there are requests. Requests are taken to be
        independent of each other: those that wait in one queue are not, and their interval is too narrow. ``find_capacity`` and
        ``compare`` allow for that; here, only runs that are repeated tell.

        Args:
            q: The quantile, between 0 and 1.
            confidence: With which probability, at least, the interval holds the true quantile.

        Returns:
            The lower and the upper bound; ``None`` where there are too few requests.
        """
        if not self.count or self.requests < requests_needed(q):
            return None
        ranks = _bounds(self.count, self.requests, q, confidence)
        if ranks is None:
            return None
        low, high = self._at(ranks)
        return low, high

    def why_none(self, q: float | None = None) -> str | None:
        """Why there are no values, or why there is no quantile ``q``; ``None`` where there is one."""
        if not self.count:
            return self.reason or "there are no values"
        if q is None or self.requests >= requests_needed(q):
            return None
        return f"p{q * 100:g} needs {requests_needed(q)} requests, and there are {self.requests}"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the values, for JSON."""
        quantiles = {f"p{q * 100:g}": self.quantile(q) for q in QUANTILES}
        intervals = {f"p{q * 100:g}_interval": self.interval(q) for q in QUANTILES}
        shape = {"mean": self.mean, "minimum": self.minimum, "maximum": self.maximum}
        return {"unit": self.unit, "count": self.count, "requests": self.requests, "reason": self.why_none()} | (
            shape | quantiles | intervals
        )

    def _at(self, ranks: Sequence[int]) -> list[float]:
        """The values with these ranks. The first question is answered for all that is reported, as each may cost a pass."""
        if not self._known.keys() >= set(ranks):
            wanted = sorted({*ranks, *asked_ranks(self.count, self.requests)} - self._known.keys())
            self._known |= zip(wanted, self._order.at(wanted), strict=True)
        return [self._known[rank] for rank in ranks]
