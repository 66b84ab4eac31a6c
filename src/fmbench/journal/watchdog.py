"""The second process: deletes what stands when its run's process is gone, or a limit of the run has passed.

Started as a script, so that it needs the standard library alone until there is something to delete.

Usage: watchdog.py DIRECTORY PARENT SYS_PATH
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

READY = 3
"""The descriptor on which the parent waits for a word."""
MOST_DESCRIPTORS = 65536
"""Some systems have no limit, and close one by one."""
LOOK_SECONDS = 1.0
GRACE_SECONDS = 15.0
"""How long after a limit the run itself is left to end what it has."""
SETTLE_SECONDS = 10.0
ROUND_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 60.0
GIVE_UP_SECONDS = 24 * 3600.0


class Watch:
    """What is known of the run, from its journal; what was read last counts where the file is gone."""

    def __init__(self, directory: Path) -> None:
        names = runpy.run_path(str(Path(__file__).with_name("log.py")))
        self.directory = directory
        self.journal: Any = names["Journal"](directory)
        self._spent_usd: Callable[[Sequence[Mapping[str, Any]], float], float] = names["spent_usd"]
        self._seen: tuple[int, int] | None = None
        self._entries: list[dict[str, Any]] = []
        self._standing: list[dict[str, Any]] = []
        self.hopeless: set[str] = set()
        self.gone: set[str] = set()

    def look(self) -> None:
        """Read the journal again where it has changed."""
        with suppress(OSError):
            stat = self.journal.path.stat()
            if (stat.st_size, stat.st_mtime_ns) != self._seen:
                self._entries = list(self.journal.entries())
                self._standing = self.journal.standing()
                self._seen = stat.st_size, stat.st_mtime_ns

    @property
    def standing(self) -> list[dict[str, Any]]:
        """What stands and may be deleted by somebody."""
        return [entry for entry in self._standing if _key(entry) not in self.hopeless | self.gone]

    @property
    def over(self) -> bool:
        """Whether the run has said that it is over."""
        events = [entry["event"] for entry in self._entries if entry["event"] in {"begun", "over"}]
        return events[-1:] == ["over"]

    def limit(self, now: float) -> str | None:
        """The limit that has passed a while ago, in words."""
        begun: dict[str, Any] = next((entry for entry in reversed(self._entries) if entry["event"] == "begun"), {})
        deadline, max_usd = begun.get("deadline"), begun.get("max_usd")
        if deadline is not None and now >= deadline + GRACE_SECONDS:
            return "the deadline has passed"
        if max_usd is not None and self._spent_usd(self._entries, now - GRACE_SECONDS) >= max_usd:
            return f"max_usd={max_usd:g} is spent"
        return None


def _key(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry["handle"], sort_keys=True)


def log(text: str) -> None:
    """One line in ``watchdog.log``."""
    with suppress(OSError):
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
        sys.stderr.flush()


def detach() -> int:
    """Leave the terminal's session, keep nothing that was open, and hear only SIGTERM, which wakes; where it is heard."""
    with suppress(OSError):
        os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(READY + 1, min(os.sysconf("SC_OPEN_MAX"), MOST_DESCRIPTORS))
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return readable


def wait(woken: int, parent: int, pidfd: int | None) -> None:
    """Until there may be news: a signal, the parent's end, or a second."""
    if os.getppid() != parent:
        pidfd = None  # it would be readable for ever
    ready, _, _ = select.select([woken, *([] if pidfd is None else [pidfd])], [], [], LOOK_SECONDS)
    if woken in ready:
        os.read(woken, 4096)


def why(watch: Watch, parent: int) -> str | None:
    """Why everything is to be deleted now, if it is."""
    if os.getppid() != parent:
        return "the run's process is gone"
    return "the run is over, and this still stands" if watch.over else watch.limit(time.time())


def delete_round(watch: Watch, reason: str, path: Sequence[str]) -> None:
    """Delete everything that stands, as far as it can be done in a while."""
    sys.path[:] = path
    from anyio import run  # noqa: PLC0415 - only when there is something to delete

    from fmbench.journal.deleting import delete_all  # noqa: PLC0415 - only when there is something to delete
    from fmbench.journal.identity import revive  # noqa: PLC0415 - only when there is something to delete

    standing = watch.standing
    for entry in standing:
        log(f"{reason}: deleting {_key(entry)}")

    async def delete() -> Any:
        return await delete_all(
            standing,
            lambda entry: revive(entry.get("deployer"), besides=watch.directory),
            gone=watch.journal.deleted,
            limit_seconds=ROUND_SECONDS,
            settle_seconds=SETTLE_SECONDS,
        )

    left = {_key(one.entry): one for one in run(delete)}
    for entry in standing:
        one = left.get(_key(entry))
        log(f"{_key(entry)} is gone" if one is None else f"{_key(entry)} still stands: {one.why}")
        if one is None:
            watch.gone.add(_key(entry))
        elif one.hopeless:
            watch.hopeless.add(_key(entry))


def follow(watch: Watch, woken: int, parent: int, path: Sequence[str]) -> None:
    """Watch until the run is over, or gone, and nothing stands that could be deleted."""
    pidfd = None
    with suppress(OSError, AttributeError):
        pidfd = os.pidfd_open(parent)  # type: ignore[attr-defined, unused-ignore] # Linux
    pause, since = 0.0, time.monotonic()
    while time.monotonic() - since < GIVE_UP_SECONDS:
        watch.look()
        reason = why(watch, parent)
        if reason is None:
            since = time.monotonic()
        elif watch.standing:
            time.sleep(pause)
            pause = min(2 * pause + 1, LONGEST_PAUSE_SECONDS)
            try:
                delete_round(watch, reason, path)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
                log(f"deleting failed: {type(error).__name__}: {error}")
        elif os.getppid() != parent or watch.over:
            return
        wait(woken, parent, pidfd)


def main() -> None:
    """Watch."""
    directory, parent, path = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    woken = detach()
    watch = Watch(directory)
    os.write(READY, b"up")
    os.close(READY)
    follow(watch, woken, parent, path)
    with suppress(OSError):
        if not watch.journal.standing() and not watch.journal.kept():
            sys.path[:] = path
            from fmbench.journal.state import forget  # noqa: PLC0415 - the last thing that is done

            forget(directory)


if __name__ == "__main__":
    main()
