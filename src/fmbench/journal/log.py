"""``journal.jsonl``: what was created and what is deleted, one fact a line, on disk before the fact."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FILE", "Journal", "key_of", "spent_usd", "sync_folder"]

FILE = "journal.jsonl"


def key_of(handle: Any) -> str:
    """A handle as a text that is the same for the same thing."""
    return json.dumps(handle, sort_keys=True)


class Journal:
    """The journal of one run's folder. Nothing is opened before the first entry; several processes may write."""

    def __init__(self, directory: Path) -> None:
        self.path: Path = directory / FILE

    def creating(
        self, handle: Any, *, usd_per_hour: float | None = None, deadline: float | None = None, keep: bool = False, **more: Any
    ) -> None:
        """Write that ``handle`` is about to be created; it is on disk, with its folder's entry, when this returns."""
        said = {"handle": handle, "usd_per_hour": usd_per_hour, "deadline": deadline, "keep": keep, **more}
        self.append("creating", **said)

    def deleted(self, handle: Any) -> None:
        """Write that ``handle`` is gone."""
        self.append("deleted", handle=handle)

    def append(self, event: str, **said: Any) -> None:
        """Write one line; it is on disk when this returns."""
        line = json.dumps({"at": time.time(), "event": event, **said}, sort_keys=True).encode() + b"\n"
        fresh = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, b"\n" + line if _is_torn(descriptor) else line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(self.path.parent)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every fact, oldest first. A line cut short by a crash is passed over."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("event"), str):
                yield entry

    def standing(self) -> list[dict[str, Any]]:
        """The entries of things created, not deleted, and not to be kept; oldest first."""
        return [entry for entry in self._left() if not entry.get("keep")]

    def kept(self) -> list[dict[str, Any]]:
        """The entries of things that stand because they were to be kept; they cost as well."""
        return [entry for entry in self._left() if entry.get("keep")]

    def sitting(self) -> Mapping[str, Any] | None:
        """What the last process said of itself when it began to create things; ``None`` where none did."""
        return next((entry for entry in reversed(list(self.entries())) if entry["event"] == "begun"), None)

    def is_over(self) -> bool:
        """Whether the last process that created things said that its run was over."""
        events = [entry["event"] for entry in self.entries() if entry["event"] in {"begun", "over"}]
        return events[-1:] == ["over"]

    def _left(self) -> list[dict[str, Any]]:
        left: dict[str, dict[str, Any]] = {}
        for entry in self.entries():
            if entry["event"] == "creating":
                left[key_of(entry.get("handle"))] = entry
            elif entry["event"] == "deleted":
                left.pop(key_of(entry.get("handle")), None)
        return list(left.values())


def sync_folder(folder: Path) -> None:
    """Have a folder's own entries on disk: a new file's name is lost in a crash otherwise."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_torn(descriptor: int) -> bool:
    """Whether the last line was cut short, so that another would be glued to it."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def spent_usd(entries: Iterable[Mapping[str, Any]], now: float) -> float:
    """What the things of a journal have cost so far, at the rates that are known, in USD.

    Args:
        entries: As ``Journal.entries`` gives them.
        now: Seconds since the epoch.
    """
    since: dict[str, tuple[float, float]] = {}
    spent = 0.0
    for entry in entries:
        key = key_of(entry.get("handle"))
        if entry["event"] == "creating":
            since.setdefault(key, (entry["at"], entry.get("usd_per_hour") or 0.0))
        elif entry["event"] == "deleted" and key in since:
            begun, rate = since.pop(key)
            spent += rate * (entry["at"] - begun) / 3600
    return spent + sum(rate * (now - begun) / 3600 for begun, rate in since.values())
