"""What one process writes down while it conducts a run: what it creates, for whom, and that it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmbench.journal.identity import can_delete, class_name, file_of, identify
from fmbench.journal.log import Journal, key_of
from fmbench.journal.process import this_process
from fmbench.journal.starting import end_watchdog, start_watchdog
from fmbench.journal.state import forget, note

__all__ = ["Entries", "Sitting"]


class Sitting:
    """One process's part of a run, from the first thing it creates.

    Args:
        directory: The run's folder.
        run: Its id.
        tags: What is written on everything that is created.
        deadline: When the run must be over, in seconds since the epoch.
        max_usd: What it may cost.
    """

    def __init__(
        self,
        directory: Path,
        *,
        run: str,
        tags: Mapping[str, str],
        deadline: float | None = None,
        max_usd: float | None = None,
    ) -> None:
        self.journal: Journal = Journal(directory)
        self.deadline = deadline
        self.tags: dict[str, str] = dict(tags)
        self._directory = directory
        self._run = run
        self._max_usd = max_usd
        self._lock = threading.Lock()
        self._deployers: dict[str, str | None] = {}
        self._regions: set[str] = set()
        self._watchdog: int | None = None

    def of(self, deployer: Any, deployment: str) -> Entries:
        """The part of one deployment."""
        return Entries(self, deployer, deployment)

    def begin(self, cls: type, *, watched: bool, region: str | None = None) -> None:
        """Before each thing: say who we are, put the folder on the user's list, start the watchdog, where it is not done yet.

        Args:
            cls: The class of who creates it.
            watched: Whether another process could delete it.
            region: Where it is created.

        Raises:
            FmbenchError: there is no watchdog.
        """
        with self._lock:
            process = this_process()
            if not self._deployers:
                said = {"run": self._run, "tags": self.tags, "deadline": self.deadline, "max_usd": self._max_usd}
                self.journal.append("begun", process=process, **said)
            if class_name(cls) not in self._deployers or region not in {None, *self._regions}:
                self._deployers[class_name(cls)] = file_of(cls)
                self._regions |= set() if region is None else {region}
                listed = [{"class": name, "file": file} for name, file in self._deployers.items()]
                try:
                    note(self._directory, self._run, process, listed, sorted(self._regions))
                except (OSError, RuntimeError) as error:
                    self.journal.append("unlisted", why=str(error))
            if watched and self._watchdog is None:
                self._watchdog = start_watchdog(self._directory)

    def over(self) -> None:
        """Say that the run is over; the watchdog ends, unless something stands that it can delete."""
        with self._lock:
            if not self._deployers:
                return
            self.journal.append("over")
            standing = self.journal.standing()
            if self._watchdog is not None:
                end_watchdog(self._watchdog, wait=not standing)
                self._watchdog = None
            if not standing and not self.journal.kept():
                forget(self._directory)
            self._deployers.clear()


class Entries:
    """What one deployment creates."""

    def __init__(self, sitting: Sitting, deployer: Any, deployment: str) -> None:
        self._sitting = sitting
        self._deployer = deployer
        self._deployment = deployment
        self._since: dict[str, tuple[float, float]] = {}
        self._spent_usd = 0.0
        self.unwatched: bool = False
        """Whether it created something that only this process can delete, although it says how."""

    def creating(self, handle: Any, usd_per_hour: float | None, *, keep: bool) -> None:
        """As ``Run.creating``."""
        deployer = identify(self._deployer) if can_delete(self._deployer) else None
        self.unwatched = self.unwatched or (deployer is None and can_delete(self._deployer))
        region = handle.get("region") if isinstance(handle, Mapping) else None
        self._sitting.begin(type(self._deployer), watched=deployer is not None, region=region)
        self._sitting.journal.creating(
            handle,
            usd_per_hour=usd_per_hour,
            deadline=self._sitting.deadline,
            keep=keep,
            deployer=deployer,
            deployment=self._deployment,
        )
        self._since.setdefault(key_of(handle), (time.monotonic(), usd_per_hour or 0.0))

    def deleted(self, handle: Any) -> None:
        """As ``Run.deleted``."""
        self._sitting.journal.deleted(handle)
        begun, rate = self._since.pop(key_of(handle), (time.monotonic(), 0.0))
        self._spent_usd += rate * (time.monotonic() - begun) / 3600

    def spent_usd(self) -> float:
        """What the deployment has cost so far, at the rates that are known."""
        now = time.monotonic()
        return self._spent_usd + sum(rate * (now - begun) / 3600 for begun, rate in list(self._since.values()))

    def standing(self) -> list[dict[str, Any]]:
        """What the deployment has left behind, against its will."""
        return [entry for entry in self._sitting.journal.standing() if key_of(entry["handle"]) in self._since]
