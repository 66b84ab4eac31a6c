"""A server in a child process: started under a supervisor, awaited until it answers, ended with all that it started."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from fmbench import DeployError, InvokeError, Run
from fmbench.wire import connect

__all__ = ["Server", "free_port", "is_listening", "serving"]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
GRACE_SECONDS = 5.0
"""How long a server may take to end by itself."""
LAST_LINES = 5


@dataclass(frozen=True, kw_only=True)
class Server:
    """What to start, and how to know that it is up."""

    name: str
    command: Sequence[str]
    url: str
    ready: str
    ready_seconds: float
    environment: Mapping[str, str] | None = None
    """The child's whole environment; ``None``: ours."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def is_listening(url: str, seconds: float = 2.0) -> bool:
    """Whether somebody accepts connections at the URL's host and port."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(parts.hostname or "", port)
    except (OSError, TimeoutError):
        return False
    await stream.aclose()
    return True


@asynccontextmanager
async def serving(run: Run, server: Server) -> AsyncGenerator[None]:
    """Start a server, yield when it answers, and end it.

    Its output goes to ``logs/NAME.log`` in the run's folder.

    Raises:
        DeployError: its port is taken, it ended while starting, or it did not answer in time.
    """
    if await is_listening(server.url):
        raise DeployError(f"{server.name}: something listens at {server.url} already: end it, or choose another port")
    log = run.directory / "logs" / (re.sub(r"[^\w.-]+", "-", server.name) + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    process = _start(server, log)
    try:
        await _answering(server, process, log)
        yield
    finally:
        async with run.undoing():
            await _end(process)


def _start(server: Server, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SUPERVISOR), str(GRACE_SECONDS), *server.command]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the user's own command
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True, env=server.environment
        )


async def _answering(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + server.ready_seconds
    told = "it did not accept a connection"
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise DeployError(f"{server.name} ended with status {status} while starting{_last_lines(log)}")
        try:
            async with connect(server.url, connections=0) as client:
                head, _ = await client.fetch("GET", server.ready, timeout_seconds=5.0)
        except InvokeError as error:
            told = error.message
        else:
            if head.status == 200:
                return
            told = f"it answered {head.status}"
        await anyio.sleep(0.05)
    url = server.url.rstrip("/") + server.ready
    raise DeployError(f"{server.name} was not ready at {url} within {server.ready_seconds:g} s: {told}{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"; its last lines: {' | '.join(lines[-LAST_LINES:])}" if lines else "; it wrote nothing"


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe, upon which the supervisor ends the server; should it not, end the supervisor."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    deadline = time.monotonic() + GRACE_SECONDS + 2
    while process.poll() is None:
        await anyio.sleep(0.01)
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGKILL)
