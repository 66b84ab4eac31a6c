"""What a deployment has left in this process and below it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fmbench.journal import Journal

__all__ = ["LeftBehind"]

Process = tuple[int, str]
"""A process by its number and the time of its start, since numbers are used again."""


class LeftBehind:
    """Remembers what there was, and tells what has been added since.

    Processes and descriptors are seen where the system has ``/proc``; tasks and journal entries everywhere.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors = Counter(_descriptors(folder))
        self._tasks = asyncio.all_tasks()
        self._processes = set(_descendants(os.getpid()))
        self._met: set[Process] = set()

    def look(self) -> None:
        """Note the processes that run now: should their parent end before they do, nothing else would lead to them."""
        self._met.update(set(_descendants(os.getpid())) - self._processes)

    def reasons(self) -> list[str]:
        """What is left, in words; empty where all is as it was."""
        processes = set(_descendants(os.getpid())) | {process for process in self._met if _runs(process)}
        descriptors = Counter(_descriptors(self._folder)) - self._descriptors
        tasks = [task.get_name() for task in asyncio.all_tasks() - self._tasks]
        standing = [entry["handle"] for entry in Journal(self._folder).standing()]
        left = {
            "child processes are left": sorted(number for number, _ in processes - self._processes),
            "sockets, pipes or files are left open": sorted(descriptors.elements()),
            "tasks are left running": sorted(tasks),
            "the journal says that these still stand": standing,
        }
        return [f"{what}: {which}" for what, which in left.items() if which]


def _descendants(number: int) -> Iterator[Process]:
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text(encoding="ascii").split()):
                if (stat := _stat(child)) is not None:
                    yield child, stat[1]
                yield from _descendants(child)


def _runs(process: Process) -> bool:
    """Whether it still does; one that has ended and waits to be reaped by another's hand does not."""
    stat = _stat(process[0])
    return stat is not None and stat[1] == process[1] and stat[0] != "Z"


def _stat(number: int) -> tuple[str, str] | None:
    """A process's state and the time of its start (``proc_pid_stat(5)``, fields 3 and 22)."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]


def _descriptors(folder: Path) -> Iterator[str]:
    """Open sockets, pipes and process handles, and files in the run's folder; what else is open may be a library's cache."""
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            target = os.readlink(entry)  # noqa: PTH115 - it is no path
            if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]", str(folder.resolve()))):
                yield target
