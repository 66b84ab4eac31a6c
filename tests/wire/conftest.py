"""A server that does exactly what a test tells it, on a real socket."""

import asyncio
import shutil
import subprocess
import time
from contextlib import asynccontextmanager

import pytest

from fmbench import Exchange


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on either loop."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        return lambda main: asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main)
    return asyncio.run


class Script:
    """What the server does with each connection: ``await act(reader, writer, head)`` for each request."""

    def __init__(self, act):
        self.act = act
        self.requests = []
        self.connections = 0
        self.open = 0
        self.tasks = set()

    async def serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        self.tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                if await self.act(reader, writer, self.requests[-1]) == "close":
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def served(act, **options):
    script = Script(act)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, **options)
    host = "localhost" if options else "127.0.0.1"
    try:
        yield f"{'https' if options else 'http'}://{host}:{server.sockets[0].getsockname()[1]}", script
    finally:
        await asyncio.sleep(0.01)  # asyncio leaks a connection that it is still accepting when its server closes
        server.close()
        for task in script.tasks:
            task.cancel()
        await asyncio.gather(*script.tasks, return_exceptions=True)
        await asyncio.sleep(0)


@pytest.fixture
def serving():
    return served


@pytest.fixture
def exchange():
    return lambda name="r1": Exchange(name, time.perf_counter_ns)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert
