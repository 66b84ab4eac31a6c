"""What earlier sittings of a resumed run have recorded."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fmbench.recording import RECORDS, read_batches

__all__ = ["Recorded"]


class Numbers(Collection[int]):
    """Numbers of requests, a byte each."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._count = 0

    def add(self, number: int) -> None:
        """Add one."""
        if number >= len(self._held):
            self._held.extend(bytes(max(number + 1 - len(self._held), len(self._held))))
        self._count += not self._held[number]
        self._held[number] = 1

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < len(self._held) and bool(self._held[number])

    def __iter__(self) -> Iterator[int]:
        return (number for number, held in enumerate(self._held) if held)

    def __len__(self) -> int:
        return self._count


class Recorded:
    """The requests that stand in the log already, by experiment and number."""

    def __init__(self, directory: Path) -> None:
        self._numbers: defaultdict[str, Numbers] = defaultdict(Numbers)
        self._measured: defaultdict[str, tuple[array[int], array[int]]] = defaultdict(lambda: (array("q"), array("q")))
        path = directory / RECORDS
        for batch in read_batches(path) if path.exists() else ():
            self._read(batch)

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def numbers(self, experiment: str) -> Collection[int]:
        """The numbers of the experiment's requests that have a record."""
        return self._numbers.get(experiment, frozenset())

    def recover_window(self, entry: dict[str, Any]) -> None:
        """Give an experiment that was cut short the window its records show: from the first due time to the last news."""
        if entry["status"] not in {"pending", "partial"}:
            return
        known = max((end for _, end in entry["windows"]), default=-1)
        first = last = None
        for due, end in zip(*self._measured[entry["name"]], strict=True):
            if due > known:
                first, last = min(due, due if first is None else first), max(end, end if last is None else last)
        if first is not None:
            entry["windows"].append([first, last])
            entry["status"] = "partial"

    def _read(self, batch: Any) -> None:
        columns = (batch.column(name).to_pylist() for name in ("experiment", "id", "phase", "due_ns", "end_ns"))
        for experiment, identifier, phase, due, end in zip(*columns, strict=True):
            self._numbers[experiment].add(int(identifier.rsplit("-", 1)[1]))
            if phase == "measured" and due is not None and end is not None:
                for times, at in zip(self._measured[experiment], (due, end), strict=True):
                    times.append(at)
