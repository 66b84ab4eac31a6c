"""A deployer: it starts a small TCP server that answers each line with its letters, one by one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fmbench_stranger.line import Line

from fmbench import Endpoint, Run


@dataclass(frozen=True)
class Letterbox:
    """Serves on a free port of this machine.

    Args:
        pause_seconds: Between letters.
        name: The deployment's name.
    """

    pause_seconds: float = 0.001
    name: str = "letterbox"

    def describe(self) -> dict[str, object]:
        """What is known of it before it is up."""
        return {"usd_per_hour": 0.01, "pause_seconds": self.pause_seconds}

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Serve for as long as the endpoint is used."""
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        # Made without serving: a cancellation inside start_server would leave the socket open.
        sock = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(accept, sock=sock, start_serving=False)
        try:
            await server.start_serving()
            port = server.sockets[0].getsockname()[1]
            yield Endpoint(name=self.name, url=f"line://127.0.0.1:{port}", facts=self.describe(), invoker=Line())
        finally:
            async with run.undoing():
                server.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                for letter in line.decode().rstrip("\n"):
                    await asyncio.sleep(self.pause_seconds)
                    writer.write(letter.encode())
                    await writer.drain()
                writer.write(b"\n")
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.close()
