"""Whatever happens to whom, the supervisor leaves nothing of its server behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmbench.deployers.serving import SUPERVISOR

SLEEPER = "import os, time; os.write(1, b'up\\n'); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
# A server whose worker leaves its group and session, as daemons do, and is not its child any more.
DAEMONS = f"""
import os, subprocess, sys
if not os.fork():
    os.setsid()
    if not os.fork():
        os.write(1, b'%d\\n' % os.getpid())
        exec({SLEEPER.replace("up", "daemon")!r})
    os._exit(0)
os.wait()
exec({SLEEPER!r})
"""


def supervised(script, grace_seconds=5.0):
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), str(grace_seconds), sys.executable, "-c", script]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(process):
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


@pytest.fixture
def start():
    started = []

    def start(script, **options):
        started.append(supervised(script, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestOnLinux:
    def test_the_pipes_end_is_the_servers(self, start):
        supervisor = start(SLEEPER)
        assert supervisor.stdout.readline() == b"up\n"
        [server] = children(supervisor.pid)
        supervisor.stdin.close()
        assert supervisor.wait(10) == 128 + signal.SIGTERM
        assert not alive(server)

    def test_told_to_end_it_ends_at_once_if_the_server_does(self, start):
        supervisor = start(SLEEPER, grace_seconds=30)
        assert supervisor.stdout.readline() == b"up\n"
        began = time.monotonic()
        supervisor.terminate()
        supervisor.wait(20)
        assert time.monotonic() - began < 15  # half the grace: it did not sit that out

    def test_a_server_that_does_not_listen_is_made_to_end(self, start):
        supervisor = start(STUBBORN, grace_seconds=0.2)
        assert supervisor.stdout.readline() == b"up\n"
        supervisor.stdin.close()
        assert supervisor.wait(10) == 128 + signal.SIGKILL

    def test_what_left_the_servers_group_ends_too(self, start):
        supervisor = start(DAEMONS)
        daemon = next(int(line) for line in supervisor.stdout if line.strip().isdigit())  # the daemon may speak first
        assert alive(daemon)
        supervisor.stdin.close()
        supervisor.wait(10)
        assert not alive(daemon)

    def test_a_server_that_ends_takes_its_daemons_along(self, start):
        supervisor = start(DAEMONS.removesuffix(f"exec({SLEEPER!r})\n") + "sys.exit(7)\n")
        daemon = next(int(line) for line in supervisor.stdout if line.strip().isdigit())  # the daemon may speak first
        assert supervisor.wait(10) == 7
        assert not alive(daemon)

    def test_killing_the_supervisor_ends_the_server(self, start):
        supervisor = start(STUBBORN)
        assert supervisor.stdout.readline() == b"up\n"
        [server] = children(supervisor.pid)
        os.kill(supervisor.pid, signal.SIGKILL)
        assert eventually(lambda: not alive(server))
