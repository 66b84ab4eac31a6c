"""A server in a child process: started under a supervisor, awaited until it answers, ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from fmbench import DeployError, InvokeError, Run
from fmbench.deployers.addresses import address_of, unreachable
from fmbench.wire import connect

__all__ = ["Server", "free_port", "serving"]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LAST_LINES, LAST_BYTES, LONGEST_LINE = 5, 16384, 300


@dataclass(frozen=True, kw_only=True)
class Server:
    """What to start, and how to know that it is up."""

    name: str
    command: Sequence[str]
    url: str
    ready: str
    ready_seconds: float
    grace_seconds: float
    """How long it may take to end by itself."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables beside ours."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def serving(run: Run, server: Server) -> AsyncGenerator[None]:
    """Start a server, yield when it answers, and end it.

    Its output goes to ``logs/NAME.log`` in the run's folder.

    Raises:
        DeployError: there is no such program, its port is taken, it ended while starting, or did not answer in time.
    """
    if await unreachable(server.url) is None:
        port = address_of(server.url)[1]
        raise DeployError(f"{server.name}: port {port} is taken: end what listens there, or choose another")
    if shutil.which(server.command[0], path=server.env.get("PATH")) is None:
        raise DeployError(f"{server.name}: command: there is no program {server.command[0]!r}; install it, or give its path")
    log = _Log(run.directory / "logs" / (re.sub(r"[^\w.-]+", "-", server.name) + ".log"), hidden=list(server.env.values()))
    process = _start(server, log.path)
    try:
        await _answering(server, process, log)
        yield
    finally:
        async with run.undoing():
            await _end(process, server.grace_seconds)


def _start(server: Server, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), str(server.grace_seconds), *server.command]
    environment = {**os.environ, **server.env}
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the user's own command
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True, env=environment
        )


async def _answering(server: Server, process: subprocess.Popen[bytes], log: _Log) -> None:
    deadline = time.monotonic() + server.ready_seconds
    told = "it did not accept a connection"
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise DeployError(f"{server.name} ended with status {status} while starting{log.last_lines()}")
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
    raise DeployError(f"{server.name} was not ready at {url} within {server.ready_seconds:g} s: {told}{log.last_lines()}")


async def _end(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Close the pipe, upon which the supervisor ends the server; should it not, end the supervisor."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    deadline = time.monotonic() + grace_seconds + 2
    while process.poll() is None:
        await anyio.sleep(0.01)
        if time.monotonic() > deadline:
            process.kill()


class _Log:
    """What a server writes from now on; earlier runs' lines may stand before it."""

    def __init__(self, path: Path, *, hidden: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._start = path.stat().st_size if path.exists() else 0
        self._hidden = [value for value in hidden if len(value) > 3]

    def last_lines(self) -> str:
        """Its last lines as the end of a sentence, the environment's values left out."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._start, size - LAST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        for value in self._hidden:
            text = text.replace(value, "***")
        lines = [line.strip()[:LONGEST_LINE] for line in text.splitlines() if line.strip()]
        return f"; its last lines: {' | '.join(lines[-LAST_LINES:])}" if lines else "; it wrote nothing"
