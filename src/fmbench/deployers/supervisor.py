"""Runs a server for as long as its standard input stays open. Started as a script, so that it needs the standard library alone.

However its parent ends, SIGKILL included, the pipe closes; then the server is ended with all that it started.

Usage: supervisor.py GRACE_SECONDS COMMAND [ARGUMENT …]
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LINUX = sys.platform == "linux"


def die_with_parent() -> None:
    """In the server, before it starts: the kernel ends it when the supervisor is gone, where the kernel can."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of whatever the server starts and leaves behind, where the kernel can."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def woken_by(*signals: int) -> int:
    """A descriptor that becomes readable when one of the signals comes; what they do by default is off."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return readable


def wait_for_an_end(server: subprocess.Popen[bytes], woken: int) -> None:
    """Return when the parent has closed the pipe or gone, when we are told to end, or when the server has ended."""
    parent, told = os.getppid(), []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    while server.poll() is None and not told and os.getppid() == parent:
        ready, _, _ = select.select([0, woken], [], [], 1.0)  # a second: should somebody else hold the pipe open
        if 0 in ready and not os.read(0, 4096):
            return
        if woken in ready:
            os.read(woken, 4096)


def end(server: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Ask the server's process group to end, then make everything end that it started, in other groups too."""
    if server.poll() is None:
        _signal_group(server, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(grace_seconds)
    _signal_group(server, signal.SIGKILL)
    server.wait()
    while left := children():
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
        _reap()


def _signal_group(server: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: a group of which only the dead are left
        os.killpg(server.pid, number)


def children() -> list[int]:
    """Our own children, adopted ones too; none where the system has no ``/proc``."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()]
    return []


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> int:
    """Start the server and watch both ends; its exit status is ours."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    adopt_orphans()
    woken = woken_by(signal.SIGTERM, signal.SIGCHLD)
    try:
        server = subprocess.Popen(  # noqa: S603 - the user's own command
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - there is no other thread
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return 127
    wait_for_an_end(server, woken)
    end(server, grace_seconds)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


if __name__ == "__main__":
    sys.exit(main())
