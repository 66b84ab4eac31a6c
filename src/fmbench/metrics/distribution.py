"""The values of one metric, their exact quantiles, and how sure one may be of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["QUANTILES", "Distribution", "Figure", "order_statistics", "requests_needed"]

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
    successes = np.arange(n, dtype=np.float64)
    ratios = np.log((n - successes) / (successes + 1)) + math.log(q) - math.log1p(-q)
    at_most = np.cumsum(np.exp(np.concatenate(([0.0], np.cumsum(ratios))) + n * math.log1p(-q)))
    tail = (1 - confidence) / 2
    lower = int(np.searchsorted(at_most, tail, side="right"))
    upper = int(np.searchsorted(at_most, 1 - tail, side="left")) + 1
    return (lower, upper) if lower >= 1 and upper <= n else None


@dataclass(frozen=True, eq=False)
class Distribution:
    """The values of one metric over an experiment.

    Quantiles are exact and interpolate linearly between the two nearest values, as ``numpy.quantile`` and pandas do; a
    quantile is ``None`` while there are fewer requests than ``requests_needed(q)``.

    Args:
        values: In the order of the records; one a request, or, for ITL, one a gap.
        unit: Their unit.
        requests: From how many requests they come; as many as there are values unless told.
        reason: Why there is no value at all.
    """

    values: NDArray[np.float64]
    unit: str
    requests: int = -1
    reason: str | None = None

    def __post_init__(self) -> None:
        self.values.flags.writeable = False
        if self.requests < 0:
            object.__setattr__(self, "requests", len(self.values))

    def __repr__(self) -> str:
        shown = ", ".join(f"p{q * 100:g}={value:.6g}" for q in QUANTILES if (value := self.quantile(q)) is not None)
        return f"<Distribution of {self.count} values in {self.unit}{': ' + shown if shown else ''}>"

    @cached_property
    def _sorted(self) -> NDArray[np.float64]:
        import numpy as np  # noqa: PLC0415 - as above

        return np.sort(self.values)

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Their arithmetic mean."""
        return float(self.values.mean()) if self.count else None

    @property
    def minimum(self) -> float | None:
        """The least of them."""
        return float(self._sorted[0]) if self.count else None

    @property
    def maximum(self) -> float | None:
        """The greatest of them."""
        return float(self._sorted[-1]) if self.count else None

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
        import numpy as np  # noqa: PLC0415 - as above

        if self.requests < requests_needed(q) or not self.count:
            return None
        return float(np.quantile(self._sorted, q))

    def interval(self, q: float, confidence: float = 0.95) -> tuple[float, float] | None:
        """Between which two values the true quantile lies.

        The bounds are two of the values themselves, chosen by ``order_statistics``. Several values of one request hang
        together, so an interval of ITL is that of as many independent values as there are requests.

        Args:
            q: The quantile, between 0 and 1.
            confidence: With which probability, at least, the interval holds the true quantile.

        Returns:
            The lower and the upper bound; ``None`` where there are too few requests.
        """
        ranks = order_statistics(self.requests, q, confidence) if self.quantile(q) is not None else None
        if ranks is None:
            return None
        low, high = (float(self._sorted[-(-rank * self.count // self.requests) - 1]) for rank in ranks)
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
