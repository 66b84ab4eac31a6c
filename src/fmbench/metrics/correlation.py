"""How much correlated values tell: neighbours in a queue share its state, so n of them tell less than n independent ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from fmbench.metrics.laws import student_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Blocks", "block_correlation", "blocks_of", "effective_size", "ratio_error"]

LEAST_BLOCKS, MOST_BLOCKS = 10, 30
_MOST_CORRELATION = 0.9


class Blocks(NamedTuple):
    """What a series in the order of time says about the precision of its mean."""

    value: float
    """The mean, or the ratio of two means."""
    error: float
    """Its standard error."""
    freedom: float
    """The degrees of freedom of that error."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Student's interval of the value."""
        half = self.error * student_quantile((1 + confidence) / 2, self.freedom)
        return self.value - half, self.value + half


def blocks_of(count: int) -> int:
    """Into how many blocks a series of so many values is cut: half its square root, between 10 and 30."""
    return min(max(round(math.sqrt(count) / 2), LEAST_BLOCKS), MOST_BLOCKS)


def ratio_error(over: NDArray[np.float64], under: NDArray[np.float64]) -> Blocks | None:
    """The ratio of two sums with its standard error, by the method of batch means.

    The series is cut into blocks of consecutive values; the spread of the blocks' residuals gives the error of the whole. Where
    neighbouring blocks are still correlated, the error is widened as for an autoregressive process of the first order (the
    correction of Tafazzoli and Wilson's Skart procedure, 2011).

    Args:
        over: One value a request, in the order in which they were due.
        under: What each counts for; ones, for a mean.

    Returns:
        ``None`` where there are too few values for the least number of blocks.
    """
    count, whole = len(over), float(under.sum())
    if count < LEAST_BLOCKS or not whole > 0:
        return None
    value = float(over.sum()) / whole
    rest = _block_sums(over - value * under)
    blocks, square = len(rest), float(rest @ rest)
    if square <= 0:
        return Blocks(value, 0.0, blocks - 1)
    correlation = min(max(float(rest[1:] @ rest[:-1]) / square, 0.0), _MOST_CORRELATION)
    variance = square * blocks / (blocks - 1) / whole**2 * (1 + correlation) / (1 - correlation)
    return Blocks(value, math.sqrt(variance), blocks - 1)


def effective_size(over: NDArray[np.float64], under: NDArray[np.float64], count: int) -> float:
    """To how many independent values a correlated series of ones and noughts amounts; at most ``count``.

    The design effect of survey statistics: the variance that independent values would have, over the one there is.

    Args:
        over: How many of each request's values have the property.
        under: How many values each request has.
        count: How many requests there are.
    """
    found = ratio_error(over, under)
    if found is None:
        return 1.0
    spread = found.value * (1 - found.value)
    if not spread > 0:
        return float(count)
    return min(float(count), spread / found.error**2) if found.error > 0 else float(count)


def block_correlation(values: NDArray[np.float64]) -> float:
    """How alike neighbouring blocks of a series are: the correlation of their means at lag one; 0 for too few values.

    Where it is high, the blocks are no longer than what happens in the series: it has not been watched for long enough.
    """
    if len(values) < LEAST_BLOCKS:
        return 0.0
    rest = _block_sums(values - values.mean())
    square = float(rest @ rest)
    return float(rest[1:] @ rest[:-1]) / square if square > 0 else 0.0


def _block_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415 - loading numpy starts threads, and `import fmbench` starts none

    edges = np.linspace(0, len(values), blocks_of(len(values)) + 1).astype(np.int64)[:-1]
    return np.asarray(np.add.reduceat(values, edges))
