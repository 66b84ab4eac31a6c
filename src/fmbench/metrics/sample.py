"""One experiment's records as columns of numbers, with its windows: all that a metric is made from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics.distribution import Distribution

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["STATUSES", "Arrivals", "Booleans", "Numbers", "Sample", "Window"]

Numbers = NDArray[np.float64]
"""One number a record (or an arrival), NaN where the record holds null."""

Booleans = NDArray[np.bool_]

Window = tuple[int, int]
"""A window's start and end in nanoseconds from the run's start, both of them in it."""

STATUSES = ("ok", "error", "timeout", "cancelled", "not_sent")
"""What may become of a request."""


class Arrivals:
    """The content arrivals of all requests, end to end.

    Args:
        table: The records.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._lengths = self._lengths_of("arrivals_ns")
        self.times_ns: NDArray[np.int64] = self._flat("arrivals_ns").astype(np.int64, copy=False)
        """When each arrived."""
        self.rows: NDArray[np.int32] = np.repeat(np.arange(len(self._lengths), dtype=np.int32), self._lengths)
        """To which record each belongs."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many each record has."""
        return self._lengths

    @cached_property
    def coalesced(self) -> Booleans:
        """Which arrivals share a read with a later one, so that their time is not their own."""
        flags: Booleans = self._beside("arrival_coalesced", np.zeros(len(self.rows), dtype=np.bool_))
        return flags

    @cached_property
    def tokens(self) -> Numbers:
        """How many tokens each brought: as the server told, else the request's tokens spread evenly; NaN where not known."""
        completion = _numbers(self._table, "completion_tokens")
        tokens: Numbers = self._beside("arrival_tokens", (completion / np.maximum(self._lengths, 1))[self.rows])
        return tokens

    def _beside(self, column: str, values: NDArray[Any]) -> NDArray[Any]:
        """A list column that runs beside the arrivals, written over ``values`` for the records that have it."""
        given = (self._lengths_of(column) == self._lengths) & (self._lengths > 0)
        values[given[self.rows]] = self._flat(column, given)
        return values

    def _lengths_of(self, column: str) -> NDArray[np.int64]:
        # Its functions are made when it is imported, which pyright cannot see.
        pc: Any = import_module("pyarrow.compute")

        lengths = pc.fill_null(pc.list_value_length(self._table.column(column)), 0)
        return np.asarray(lengths.to_numpy(), dtype=np.int64)

    def _flat(self, column: str, kept: Booleans | None = None) -> NDArray[Any]:
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        # Its functions are made when it is imported, which pyright cannot see.
        pc: Any = import_module("pyarrow.compute")

        lists = self._table.column(column)
        chosen = lists if kept is None else lists.filter(pa.array(kept))
        return np.asarray(pc.list_flatten(chosen).to_numpy())


def _numbers(table: pa.Table, column: str) -> Numbers:
    return np.asarray(table.column(column).cast("float64").to_numpy(), dtype=np.float64)


class Sample:
    """What a metric is a function of.

    Args:
        table: The experiment's records, in the columns of ``records.arrow``.
        windows: Its windows.
        open_load: Whether requests were due at given times, whatever became of the earlier ones.
    """

    def __init__(self, table: pa.Table, windows: Sequence[Window], *, open_load: bool) -> None:
        self.table = table
        self.windows: tuple[tuple[int, int], ...] = tuple((int(start), int(end)) for start, end in windows)
        self.open_load = open_load
        self._columns: dict[str, Numbers] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def window_seconds(self) -> float:
        """The length of all windows together."""
        return sum(end - start for start, end in self.windows) / 1e9

    def numbers(self, column: str) -> Numbers:
        """A column of counts or times, NaN for null."""
        if column not in self._columns:
            self._columns[column] = _numbers(self.table, column)
        return self._columns[column]

    def among(self, column: str, *values: str | bool) -> Booleans:
        """Which records hold one of ``values`` in a column."""
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        # Its functions are made when it is imported, which pyright cannot see.
        pc: Any = import_module("pyarrow.compute")

        cells = self.table.column(column)
        found = pc.is_in(cells, value_set=pa.array(values, cells.type))
        return np.asarray(found.to_numpy(), dtype=np.bool_)

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

    @cached_property
    def arrivals(self) -> Arrivals:
        """The content arrivals of all requests."""
        return Arrivals(self.table)

    def distribution(self, values: Numbers, unit: str, nothing: str) -> Distribution:
        """The distribution of a value over the counted requests that have it.

        Args:
            values: One a record, NaN where there is none.
            unit: Their unit.
            nothing: Why there is none, should no counted request have one.
        """
        chosen = values[self.counted & ~np.isnan(values)]
        return Distribution(chosen, unit, reason=None if len(chosen) else self.why_nothing(nothing))

    def why_nothing(self, otherwise: str) -> str:
        """Why there is nothing to measure, the first cause first."""
        if not len(self):
            return "no request was recorded"
        if not self.windows:
            return "there is no window: nothing was measured, or the run was killed before the window was closed"
        return otherwise if self.counted.any() else "no request that was due in the window succeeded"
