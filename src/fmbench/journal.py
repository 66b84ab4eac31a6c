"""What a run created and what of it still stands: ``journal.jsonl``, one fact a line, on disk before the fact."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

__all__ = ["Journal"]


class Journal:
    """The journal of one run's folder. Nothing is opened before the first entry."""

    def __init__(self, directory: Path) -> None:
        self.path: Path = directory / "journal.jsonl"

    def creating(self, handle: Any, *, usd_per_hour: float | None = None, deadline: float | None = None) -> None:
        """Write that ``handle`` is about to be created; it is on disk when this returns."""
        self._append({"event": "creating", "handle": handle, "usd_per_hour": usd_per_hour, "deadline": deadline})

    def deleted(self, handle: Any) -> None:
        """Write that ``handle`` is gone."""
        self._append({"event": "deleted", "handle": handle})

    def standing(self) -> list[dict[str, Any]]:
        """The entries of things created and not yet deleted, oldest first. A line cut short by a crash is passed over."""
        if not self.path.exists():
            return []
        standing: dict[str, dict[str, Any]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            key = json.dumps(entry["handle"], sort_keys=True)
            if entry["event"] == "creating":
                standing[key] = entry
            else:
                standing.pop(key, None)
        return list(standing.values())

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps({"at": time.time(), **entry}, sort_keys=True) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
