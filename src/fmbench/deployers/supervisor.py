"""Runs a server for as long as its standard input stays open. Started as a script, so that it needs the standard library alone.

However its parent ends, SIGKILL included, the pipe closes; then the server's whole process group is ended.

Usage: supervisor.py GRACE_SECONDS COMMAND [ARGUMENT …]
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In the server, before it starts: the kernel ends it when the supervisor is gone, where the kernel can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(server: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Ask the server's process group to end, then make it."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def main() -> int:
    """Start the server and watch both ends; its exit status is ours."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    try:
        server = subprocess.Popen(  # noqa: S603 - the user's own command
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - there is no other thread yet
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return 127

    def watch() -> None:
        while os.read(0, 4096):
            pass
        end(server, grace_seconds)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: end(server, grace_seconds))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the parent's to answer
    status = server.wait()
    end(server, 0)  # what it started and left behind
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
