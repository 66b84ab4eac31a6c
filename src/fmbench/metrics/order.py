"""Order statistics: which value is the k-th smallest, of values that are held, or read again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics.columns import Numbers

__all__ = ["HELD", "Held", "Order", "Passes", "Reread", "Spread", "select"]

Integers = NDArray[np.int64]

HELD = 16_384
"""Up to so many values a distribution holds them; beyond, it reads them from the records again when they are asked for."""

_STEP_BITS = 20
"""How many intervals a pass tells apart, as a power of two: 8 MB of counters."""


class Order(Protocol):
    """The values of a distribution, wherever they are."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def mean(self) -> float:
        """Their arithmetic mean; asked only where there are any."""
        ...

    def values(self) -> Numbers:
        """All of them, in the order of the records."""
        ...

    def at(self, ranks: Sequence[int]) -> Sequence[float]:
        """The values with these ranks, counted from 0 for the smallest."""
        ...


class Held:
    """Values that are held in memory."""

    def __init__(self, values: Numbers) -> None:
        self._values = values
        values.flags.writeable = False

    @property
    def count(self) -> int:
        return len(self._values)

    @property
    def mean(self) -> float:
        return float(self._values.mean())

    def values(self) -> Numbers:
        return self._values

    def at(self, ranks: Sequence[int]) -> Sequence[float]:
        return [float(value) for value in self._sorted[list(ranks)]]

    @cached_property
    def _sorted(self) -> Numbers:
        return np.sort(self._values)


class Reread:
    """Values that are let go, and made once more when one is asked for that was not asked for in time.

    Args:
        values: All of them.
        again: Makes them once more.
        ranks: Those that are certain to be asked for.
    """

    def __init__(self, values: Numbers, again: Callable[[], Numbers], ranks: Sequence[int]) -> None:
        self._again = again
        self._count, self._mean = len(values), float(values.mean())
        self._known = dict(zip(ranks, _partitioned(values, ranks), strict=True))

    @property
    def count(self) -> int:
        return self._count

    @property
    def mean(self) -> float:
        return self._mean

    def values(self) -> Numbers:
        values = self._again()
        values.flags.writeable = False
        return values

    def at(self, ranks: Sequence[int]) -> Sequence[float]:
        if missing := [rank for rank in ranks if rank not in self._known]:
            self._known |= zip(missing, _partitioned(self._again(), missing), strict=True)
        return [self._known[rank] for rank in ranks]


def _partitioned(values: Numbers, ranks: Sequence[int]) -> list[float]:
    return [float(value) for value in np.partition(values, list(ranks))[list(ranks)]]


@dataclass(slots=True)
class Spread:
    """What one look at some integers tells of them."""

    count: int = 0
    total: int = 0
    low: int = 0
    high: int = 0

    def add(self, chunk: Integers) -> None:
        """Look at more of them."""
        if len(chunk):
            low, high = int(chunk.min()), int(chunk.max())
            self.low, self.high = (min(self.low, low), max(self.high, high)) if self.count else (low, high)
            self.count += len(chunk)
            self.total += int(chunk.sum())


class Passes:
    """Times that are too many to be held: each question is one or a few passes over where they stand.

    Args:
        chunks: Reads all of them, in nanoseconds, some at a time, the same each time.
        spread: What is known of them already.
    """

    def __init__(self, chunks: Callable[[], Iterable[Integers]], spread: Spread) -> None:
        self._chunks = chunks
        self._spread = spread

    @property
    def count(self) -> int:
        return self._spread.count

    @property
    def mean(self) -> float:
        return self._spread.total / self._spread.count / 1e9

    def values(self) -> Numbers:
        values = np.empty(self._spread.count)
        filled = 0
        for chunk in self._chunks():
            np.divide(chunk, 1e9, out=values[filled : filled + len(chunk)])
            filled += len(chunk)
        values.flags.writeable = False
        return values

    def at(self, ranks: Sequence[int]) -> Sequence[float]:
        found = select(self._chunks, ranks, self._spread.low, self._spread.high)
        return [found[rank] / 1e9 for rank in ranks]


def select(chunks: Callable[[], Iterable[Integers]], ranks: Sequence[int], low: int, high: int) -> dict[int, int]:
    """The values with these ranks, exactly, whatever their number, in memory that does not depend on it.

    Each pass counts how many values fall into each part of the intervals that are known to hold a wanted one, and so narrows
    these, by a factor of 2**20 divided by their number, until each holds a single integer.

    Args:
        chunks: Reads all values, some at a time, the same each time.
        ranks: Counted from 0 for the smallest.
        low: The smallest value.
        high: The greatest.

    Returns:
        The value of each rank.
    """
    # For each rank: where its interval starts, and its rank among the values in there.
    starts = dict.fromkeys(ranks, low)
    within = {rank: rank for rank in ranks}
    bits = (high - low).bit_length()
    while bits:
        intervals = np.array(sorted(set(starts.values())))
        step = max(1, min(bits, _STEP_BITS - len(intervals).bit_length() + 1))
        counts = _counted(chunks, intervals, bits, step).reshape(len(intervals), 1 << step)
        bits -= step
        ends = np.cumsum(counts, axis=1)
        for rank in ranks:
            row = int(np.searchsorted(intervals, starts[rank]))
            part = int(np.searchsorted(ends[row], within[rank], side="right"))
            within[rank] -= int(ends[row, part - 1]) if part else 0
            starts[rank] += part << bits
    return starts


def _counted(chunks: Callable[[], Iterable[Integers]], intervals: Integers, bits: int, step: int) -> Integers:
    """How many values fall into each of the 2**step parts of each interval of 2**bits."""
    counts = np.zeros(len(intervals) << step, np.int64)
    for chunk in chunks():
        if len(intervals) == 1:
            row, inside = np.zeros((), np.int64), chunk - intervals[0]
            inside = inside[(inside >= 0) & (inside < (1 << bits))]
        else:
            row = np.searchsorted(intervals, chunk, side="right") - 1
            inside = chunk - intervals[row]
            mine = (row >= 0) & (inside < (1 << bits))
            row, inside = row[mine], inside[mine]
        places = (row << step) + (inside >> (bits - step))
        if len(places):
            first = int(places.min())
            found = np.bincount(places - first)
            counts[first : first + len(found)] += found
    return counts
