"""The block bootstrap: how far a figure of a correlated series may be off, found by drawing blocks of the series anew.

Requests that follow one another share a queue, so their latencies hang together. Drawing single requests would take them for
independent and promise too much; blocks of consecutive ones keep what hangs together together (Künsch, 1989; with the ends
joined: Politis and Romano, 1992). How long a block must be, the series tells (Politis and White, 2004, as corrected by Patton,
Politis and White, 2009).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_CELLS", "block_length", "draws", "widening"]

Numbers = NDArray[np.float64]

MOST_BLOCKS, FEWEST_BLOCKS, _TURNS = 20, 6, 4

MOST_CELLS = 2000
"""Longer series are drawn in cells of several consecutive values, so that time and memory stay bounded."""


def block_length(values: Numbers, neighbours: float = 1.0) -> float:
    """The length of blocks whose ends are joined, for an interval of the mean of a series.

    It is twice the length at which the variance errs least, since an interval that shall hold as often as it says needs longer
    blocks than that (Sun, Phillips and Jin, Econometrica 76 (2008), 175-194); and no less than a twentieth of the series, since
    what hangs together weakly and for long is not seen in a short one (10 to 30 batches are enough: Schmeiser, Operations
    Research 30 (1982), 556-568). Requests in flight together share the state of the server, so a block holds several turns.

    Args:
        values: The series in order.
        neighbours: How many consecutive values belong together.

    Returns:
        At least 1, at most a sixth of the series.

    Source: Politis and White, Econometric Reviews 23 (2004), 53-70; Patton, Politis and White, ibid. 28 (2009), 372-375.
    """
    together = min(max(1, round(neighbours)), max(1, len(values) // 8))
    sums = np.add.reduceat(values, np.arange(0, len(values), together)) if together > 1 else values
    if len(values) < 8 or not np.ptp(values) > 0:
        return 1.0
    turns = _TURNS * together if together > 1 else 1
    return max(1.0, min(max(2 * _least_error(sums) * together, turns, len(values) / MOST_BLOCKS), len(values) / FEWEST_BLOCKS))


def _least_error(values: Numbers) -> float:
    """The length at which the variance errs least, by the correlations of neighbours."""
    count = len(values)
    if count < 8 or not np.ptp(values) > 0:
        return 1.0
    window = max(5, math.ceil(math.sqrt(math.log10(count))))
    reach = math.ceil(math.sqrt(count)) + window
    covariances = _autocovariances(values, min(reach, count - 1))
    lags = np.arange(1, len(covariances))
    bandwidth = _bandwidth(np.abs(covariances[1:] / covariances[0]), count, window)
    share = lags / bandwidth
    weights = np.where(share <= 0.5, 1.0, np.clip(2 * (1 - share), 0.0, None))
    slope = 2 * float(np.sum(weights * lags * covariances[1:]))
    level = float(covariances[0] + 2 * np.sum(weights * covariances[1:]))
    if not level > 0:
        return 1.0
    best = (2 * slope**2 / (4 / 3 * level**2)) ** (1 / 3) * count ** (1 / 3)
    return max(1.0, float(best))


def widening(values: Numbers, length: float) -> float:
    """What a standard error has to be multiplied with where blocks of this length still hang together.

    The correction for an autoregressive process of the first order among the blocks' sums, (1 + r) / (1 - r) of the variance,
    as in Skart (Tafazzoli, Steiger and Wilson, 2011); r is at least 0, since too wide is better than too narrow.

    Args:
        values: The series in order.
        length: The blocks'.
    """
    edges = np.arange(0, len(values), max(1, round(length)))
    sums = np.add.reduceat(values - values.mean(), edges) if len(values) else np.empty(0)
    square = float(sums @ sums)
    if len(sums) < 4 or not square > 0:
        return 1.0
    correlation = min(max(float(sums[1:] @ sums[:-1]) / square, 0.0), 0.8)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _autocovariances(values: Numbers, reach: int) -> Numbers:
    rest = values - values.mean()
    size = 1 << (2 * len(rest) - 1).bit_length()
    spectrum = np.fft.rfft(rest, size)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), size)[: reach + 1] / len(rest))


def _bandwidth(correlations: Numbers, count: int, window: int) -> int:
    """Twice the lag after which ``window`` correlations in a row cannot be told from none."""
    small = correlations < 2 * math.sqrt(math.log10(count) / count)
    for lag in range(len(small) - window + 1):
        if small[lag : lag + window].all():
            return min(2 * max(lag, 1), len(correlations))
    return len(correlations)


def draws(count: int, length: float, replicates: int, generator: np.random.Generator) -> tuple[NDArray[np.float32], float]:
    """How often each place of a series is drawn, again and again: blocks begin anywhere, and the end goes on at the beginning.

    Args:
        count: How many places there are.
        length: How many of them a block holds.
        replicates: How many times the series is drawn.
        generator: Where chance comes from.

    Returns:
        One row a replicate, one column a place; and by how much the standard deviation over replicates has to be multiplied
        because whole blocks are a little more than the series.
    """
    whole = min(max(1, round(length)), count)
    blocks = math.ceil(count / whole)
    starts = generator.integers(0, count, size=(replicates, blocks, 1))
    places = (starts + np.arange(whole)) % count
    flat = (places.reshape(replicates, -1) + np.arange(replicates)[:, None] * count).ravel()
    drawn = np.bincount(flat, minlength=replicates * count).reshape(replicates, count)
    return drawn.astype(np.float32), math.sqrt(blocks * whole / count)
