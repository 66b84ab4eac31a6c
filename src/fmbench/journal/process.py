"""Processes by more than their number, since numbers are used again: after a restart, in another container."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["is_running", "this_process"]


def this_process() -> dict[str, Any]:
    """This process, as ``is_running`` finds it again."""
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": started(os.getpid())}


def is_running(process: Mapping[str, Any]) -> bool | None:
    """Whether a process is still there; ``None`` where that cannot be known: it was on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    begun = started(process["pid"]) if process.get("boot") == _boot() else None
    return begun is not None and begun == process.get("started")


def started(pid: int) -> str | None:
    """When a process began, in a text to compare; ``None`` where it is gone, or only waits to be reaped."""
    if Path("/proc/self/stat").exists():
        with suppress(OSError):  # proc_pid_stat(5), fields 3 and 22
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        return None
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - a number
    return None if not said or said.startswith("Z") else said.partition(" ")[2].strip()


def _boot() -> str | None:
    """Which start of the machine this is, where the system tells."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None
