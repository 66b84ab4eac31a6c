"""What there is one of for every token: the content arrivals of some records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics.columns import Booleans, Numbers, list_lengths, list_values, truths, with_nan

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Arrivals"]


class Arrivals:
    """The content arrivals of some records, end to end.

    Args:
        batch: The records.
        start: How many records of the experiment stand before them.
    """

    def __init__(self, batch: pa.RecordBatch, start: int) -> None:
        self._batch = batch
        self.counts: NDArray[np.int64] = list_lengths(batch.column("arrivals_ns"))
        """How many each record has."""
        self.records: slice[int, int, None] = slice(start, start + len(self.counts))
        """Which of the experiment's records they are: a column's part for these is ``column[arrivals.records]``."""
        self.times_ns: NDArray[np.int64] = list_values(batch.column("arrivals_ns"))
        """When each arrived."""

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch]) -> Iterator[Arrivals]:
        """Those of all batches, one after the other."""
        start = 0
        for batch in batches:
            yield cls(batch, start)
            start += batch.num_rows

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """To which of these records each arrival belongs, from 0."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)

    @cached_property
    def coalesced(self) -> Booleans:
        """Which arrivals share a read with a later one, so that their time is not their own."""
        flags: Booleans = self._beside("arrival_coalesced", np.zeros(len(self.times_ns), dtype=np.bool_))
        return flags

    @cached_property
    def tokens(self) -> Numbers:
        """How many tokens each brought: as the server told, else the request's tokens spread evenly; NaN where not known."""
        completion = with_nan(self._batch.column("completion_tokens"))
        tokens: Numbers = self._beside("arrival_tokens", (completion / np.maximum(self.counts, 1))[self.rows])
        return tokens

    def gaps(self, chosen: Booleans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each gap in ns between consecutive arrivals of one streamed reply, neither of them coalesced.

        Args:
            chosen: The records whose gaps are wanted.

        Returns:
            The gaps, a record's after the other's, and how many there are of each record.
        """
        taken = chosen & truths(self._batch.column("streamed")) & (self.counts > 1)
        known = np.repeat(taken, self.counts)
        known &= ~self.coalesced
        known[:-1] &= known[1:]  # an arrival stands for the gap that it begins
        ends = np.cumsum(self.counts)
        known[ends[self.counts > 0] - 1] = False
        if not known.any():
            return np.empty(0, np.int64), np.zeros(len(self.counts), np.int64)
        before = np.concatenate(([0], np.cumsum(known)))
        return np.diff(self.times_ns)[known[:-1]], before[ends] - before[ends - self.counts]

    def _beside(self, column: str, values: NDArray[Any]) -> NDArray[Any]:
        """A list column that runs beside the arrivals, written over ``values`` for the records that have it."""
        lists = self._batch.column(column)
        lengths = list_lengths(lists)
        given = (lengths == self.counts) & (lengths > 0)
        flat = list_values(lists)
        if given.all():
            return flat
        values[given[self.rows]] = flat[np.repeat(given, lengths)]
        return values
