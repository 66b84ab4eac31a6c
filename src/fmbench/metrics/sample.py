"""One experiment's records as columns of numbers, with its windows: all that a metric is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics.arrivals import Arrivals
from fmbench.metrics.columns import Booleans, Numbers, codes, list_lengths, with_nan
from fmbench.metrics.distribution import Distribution, asked_ranks
from fmbench.metrics.order import HELD, Reread

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LAST_NS", "STATUSES", "Batches", "Booleans", "Numbers", "Sample", "Window"]

Window = tuple[int, int]
"""A window's start and end in nanoseconds from the run's start, both of them in it."""

Batches = Callable[[], Iterable["pa.RecordBatch"]]
"""Reads an experiment's records in the columns of ``records.arrow``, some at a time, the same each time."""

STATUSES = ("ok", "error", "timeout", "cancelled", "not_sent")
"""What may become of a request."""

LAST_NS = "last_ns"
"""The one column that the log does not have: the last token's arrival, the last byte's for a reply that brought no token."""

_NUMBERS = (
    *("due_ns", "sent_ns", "first_token_ns", LAST_NS, "end_ns", "client_delay_ns"),
    *("prompt_tokens", "completion_tokens", "cached_tokens"),
)
_WORDS = ("phase", "status", "streamed", "clock", "completion_tokens_source")
"""The columns that nearly every question needs: one pass reads them together, and they are kept; others are not."""

_Columns = tuple[dict[str, Numbers], dict[str, tuple[NDArray[Any], Sequence[Any]]]]
"""Columns of numbers; and of words, as places in the list of their different values."""


class Sample:
    """What a metric is a function of.

    The usual columns that have one value a record are read once and kept: about 80 bytes a record. What there is one of for
    every token is never held in whole, but read from where it stands, in as many passes as there are questions.

    Args:
        records: The experiment's, in the columns of ``records.arrow``: a table, or what reads them.
        windows: Its windows.
        open_load: Whether requests were due at given times, whatever became of the earlier ones.
    """

    def __init__(self, records: pa.Table | Batches, windows: Sequence[Window], *, open_load: bool) -> None:
        self.batches: Batches = cast("Batches", records if callable(records) else records.to_batches)
        self.windows: tuple[tuple[int, int], ...] = tuple((int(start), int(end)) for start, end in windows)
        self.open_load = open_load

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return sum(batch.num_rows for batch in self.batches())

    @cached_property
    def window_seconds(self) -> float:
        """The length of all windows together."""
        return sum(end - start for start, end in self.windows) / 1e9

    def numbers(self, column: str) -> Numbers:
        """A column of counts or times, NaN for null."""
        if column not in _NUMBERS:
            return self._read([column], [])[0][column]
        return self._usual[0][column]

    def among(self, column: str, *values: str | bool) -> Booleans:
        """Which records hold one of ``values`` in a column of words or truths."""
        known = self._usual[1] if column in _WORDS else self._read([], [column])[1]
        places, words = known[column]
        found: Booleans = np.array([word in values for word in [*words, None]], np.bool_)[places]
        return found

    @cached_property
    def _usual(self) -> _Columns:
        return self._read(_NUMBERS, _WORDS)

    @cached_property
    def arrival_counts(self) -> NDArray[np.int32]:
        """How many content arrivals each record has."""
        counts, start = np.empty(len(self), np.int32), 0
        for batch in self.batches():
            counts[start : start + batch.num_rows] = list_lengths(batch.column("arrivals_ns"))
            start += batch.num_rows
        return counts

    def arrivals(self) -> Iterator[Arrivals]:
        """The content arrivals of all requests, some records' at a time."""
        return Arrivals.of(self.batches())

    def distinct(self, column: str, chosen: Booleans | None = None) -> int:
        """How many different values a column of texts has.

        Args:
            column: The column.
            chosen: Which records count; all of them where none are given.
        """
        digests, start = [np.empty(0, np.uint64)], 0
        for batch in self.batches():
            texts = batch.column(column).to_pylist()
            mine = slice(start, start := start + len(texts))
            some = set(texts if chosen is None else (texts[place] for place in np.flatnonzero(chosen[mine])))
            # 8 bytes for a text however long: among a million, two share theirs by chance once in 40 million runs.
            packed = b"".join(blake2b(str(text).encode(), digest_size=8).digest() for text in some)
            digests.append(np.frombuffer(packed, np.uint64))
        ordered = np.concatenate(digests)
        ordered.sort()
        return len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum())

    def groups(self, column: str) -> NDArray[Any] | None:
        """A number for each different text of a column that all records have or none; ``None`` where none has."""
        first = next(iter(self.batches()), None)
        if first is None or first.column(column).null_count == first.num_rows:
            return None
        return self._read([], [column])[1][column][0]

    def inside(self, times_ns: NDArray[np.float64] | NDArray[np.int64]) -> Booleans:
        """Which of the times lie in a window; a time that is not known lies in none."""
        held = np.zeros(len(times_ns), dtype=np.bool_)
        for start, end in self.windows:
            held |= (times_ns >= start) & (times_ns <= end)
        return held

    @cached_property
    def due(self) -> Booleans:
        """The requests on which latencies and the error rate stand: due in a window, and no warm-up."""
        return self.among("phase", "measured", "drain") & self.inside(self.numbers("due_ns"))

    @cached_property
    def counted(self) -> Booleans:
        """Those of them that succeeded."""
        return self.due & self.among("status", "ok")

    def distribution(self, value: Callable[[Sample], Numbers], unit: str, nothing: str) -> Distribution:
        """The distribution of a value over the counted requests that have it.

        Args:
            value: Makes one a record, NaN where there is none.
            unit: Their unit.
            nothing: Why there is none, should no counted request have one.
        """
        chosen = self._chosen(value)
        if not len(chosen):
            return Distribution(chosen, unit, reason=self.why_nothing(nothing))
        if len(chosen) <= HELD:
            return Distribution(chosen, unit)
        # Not this sample: it holds columns.
        batches, windows, open_load = self.batches, self.windows, self.open_load

        def again() -> Numbers:
            return Sample(batches, windows, open_load=open_load)._chosen(value)  # noqa: SLF001 - of its own class

        return Distribution(Reread(chosen, again, asked_ranks(len(chosen), len(chosen))), unit)

    def why_nothing(self, otherwise: str) -> str:
        """Why there is nothing to measure, the first cause first."""
        if not len(self):
            return "no request was recorded"
        if not self.windows:
            return "there is no window: nothing was measured, or the run was killed before the window was closed"
        return otherwise if self.counted.any() else "no request that was due in the window succeeded"

    def _chosen(self, value: Callable[[Sample], Numbers]) -> Numbers:
        values = value(self)
        return values[self.counted & ~np.isnan(values)]

    def _read(self, numbers: Iterable[str], words: Iterable[str]) -> _Columns:
        """Read columns in one pass, each into an array of its final size: pieces of it would leave holes in the memory."""
        columns = {name: np.empty(len(self)) for name in numbers}
        coded: dict[str, NDArray[Any]] = {name: np.empty(len(self), np.int16) for name in words}
        places: dict[str, dict[Any, int]] = {name: {} for name in coded}
        start = 0
        for batch in self.batches():
            mine = slice(start, start := start + batch.num_rows)
            for name, column in columns.items():
                column[mine] = _last_ns(batch) if name == LAST_NS else with_nan(batch.column(name))
            for name, code in coded.items():
                found = codes(batch.column(name), places[name])
                if len(places[name]) > np.iinfo(code.dtype).max:
                    coded[name] = code.astype(np.int32)
                coded[name][mine] = found
        return columns, {name: (coded[name], tuple(places[name])) for name in coded}


def _last_ns(batch: pa.RecordBatch) -> Numbers:
    tokens = with_nan(batch.column("last_token_ns"))
    return np.where(np.isnan(tokens), with_nan(batch.column("last_byte_ns")), tokens)
