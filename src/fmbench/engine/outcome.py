"""What an engine writes to, and what it says at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fmbench.types import Record

__all__ = ["Log", "Outcome"]


class Log(Protocol):
    """Where records go; ``recording.RecordLog`` is one."""

    def appending(self, records: Sequence[Record]) -> Iterator[None]:
        """Append a batch in short steps."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment went.

    ``window`` is in nanoseconds from the run's start, ``None`` where no measured request was due; ``scheduled`` counts
    the requests that were taken up, sent or not; ``stopped`` is the reason of an early end.
    """

    window: tuple[int, int] | None
    scheduled: int
    stopped: str | None
