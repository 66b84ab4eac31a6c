"""Starting the watchdog, and ending it when there is nothing more to watch."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from fmbench.errors import FmbenchError

__all__ = ["end_watchdog", "start_watchdog"]

SCRIPT = Path(__file__).with_name("watchdog.py")
LOG = "watchdog.log"
READY = 3
UP_SECONDS = 60.0
END_SECONDS = 5.0


def start_watchdog(directory: Path) -> int:
    """Start it for a run's folder, and wait until it watches; its process number.

    It is no ``subprocess``: it outlives the run where something stands, and nobody waits for it then.

    Raises:
        FmbenchError: it does not come up. Nothing that costs may be created then.
    """
    path = [str(Path(entry or ".").absolute()) for entry in sys.path]
    # -P: the script's own folder must not come before the standard library.
    command = [sys.executable, "-P", str(SCRIPT), str(directory.absolute()), str(os.getpid()), json.dumps(path)]
    readable, writable = os.pipe()
    try:
        process = _spawned(command, directory, writable)
    except OSError as error:
        os.close(readable)
        raise FmbenchError(f"the watchdog cannot be started ({error}); nothing that costs is created without it") from error
    finally:
        os.close(writable)
    try:
        ready, _, _ = select.select([readable], [], [], UP_SECONDS)
        if ready and os.read(readable, 16):
            return process
    finally:
        os.close(readable)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _reaped(process, END_SECONDS)
    raise FmbenchError(f"the watchdog did not come up, so nothing that costs is created; see {directory / LOG}")


def end_watchdog(process: int, *, wait: bool) -> None:
    """Have it look, now that the run is over.

    Args:
        process: The watchdog.
        wait: Whether it is going to end at once, since nothing stands.
    """
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    _reaped(process, END_SECONDS if wait else 0.0)


def _spawned(command: list[str], directory: Path, writable: int) -> int:
    opened = []
    try:
        opened.append(os.open(os.devnull, os.O_RDONLY))
        opened.append(os.open(directory / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        null, log = opened
        pairs = [(null, 0), (log, 1), (log, 2), (writable, READY)]
        actions = [(os.POSIX_SPAWN_DUP2, mine, its) for mine, its in pairs]
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _reaped(process: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if os.waitpid(process, os.WNOHANG)[0] or time.monotonic() >= deadline:
                return
        except ChildProcessError:
            return  # somebody else reaps this process's children
        time.sleep(0.01)
