"""The truth server as a deployer, and its log."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fmbench import Endpoint, Run

SOURCE = Path(__file__).with_name("truth_server.c")


@contextmanager
def compiled() -> Iterator[Path]:
    """The server's program, in a folder of its own."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the truth server is a C program: install a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "truth_server"
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
        yield program


@dataclass(frozen=True)
class TruthServer:
    """Starts the server on one core and takes it down; its log is complete when the deployer's context is left."""

    program: Path
    log: Path
    core: int | None = 0
    ttft_us: int = 50_000
    itl_us: int = 10_000
    tokens: int = 128
    name: str = "truth"

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:  # noqa: ARG002 - it needs nothing of the run
        """Start it, and end it by closing its standard input."""
        command = [
            str(self.program),
            "--ttft-us",
            str(self.ttft_us),
            "--itl-us",
            str(self.itl_us),
            "--tokens",
            str(self.tokens),
        ]
        server = subprocess.Popen(  # noqa: ASYNC220 - nothing is measured yet
            [*command, "--log", str(self.log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            if self.core is not None:
                os.sched_setaffinity(server.pid, {self.core})
            if server.stdout is None or server.stdin is None:
                raise RuntimeError("the server has no pipes")
            port = int(server.stdout.readline().split()[1])
            yield Endpoint(name=self.name, url=f"http://127.0.0.1:{port}", model="truth")
        finally:
            server.communicate()


@dataclass(frozen=True)
class Truth:
    """What happened to one request, in nanoseconds of ``time.perf_counter_ns``."""

    received: int
    sent: Sequence[int]


def read_log(path: Path) -> dict[str, Truth]:
    """The server's log, by request id."""
    truths = {}
    for line in path.read_text(encoding="ascii").splitlines():
        identifier, received, *sent = line.split(" ")
        truths[identifier] = Truth(int(received), [int(at) for at in sent])
    return truths
