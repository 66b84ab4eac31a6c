"""What earlier sittings of a resumed run have recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmbench.recording import RECORDS, read_batches

__all__ = ["Recorded"]

Span = tuple[int, int]


class Recorded:
    """The requests that stand in the log already, by experiment and number."""

    def __init__(self, directory: Path) -> None:
        self._numbers: dict[str, set[int]] = {}
        self._measured: dict[str, list[Span]] = {}
        path = directory / RECORDS
        for batch in read_batches(path) if path.exists() else ():
            self._read(batch)

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def numbers(self, experiment: str) -> frozenset[int]:
        """The numbers of the experiment's requests that have a record."""
        return frozenset(self._numbers.get(experiment, ()))

    def recover_window(self, entry: dict[str, Any]) -> None:
        """Give an experiment that was cut short the window its records show: from the first due time to the last news."""
        if entry["status"] not in {"pending", "partial"}:
            return
        known = max((end for _, end in entry["windows"]), default=-1)
        spans = [(due, end) for due, end in self._measured.get(entry["name"], ()) if due > known]
        if spans:
            entry["windows"].append([min(due for due, _ in spans), max(end for _, end in spans)])
            entry["status"] = "partial"

    def _read(self, batch: Any) -> None:
        columns = (batch.column(name).to_pylist() for name in ("experiment", "id", "phase", "due_ns", "end_ns"))
        for experiment, identifier, phase, due, end in zip(*columns, strict=True):
            self._numbers.setdefault(experiment, set()).add(int(identifier.rsplit("-", 1)[1]))
            if phase == "measured" and due is not None and end is not None:
                self._measured.setdefault(experiment, []).append((due, end))
