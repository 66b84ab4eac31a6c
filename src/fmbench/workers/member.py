"""One worker's process, as its parent has it."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from anyio import CancelScope, move_on_after, to_thread

from fmbench.errors import FmbenchError
from fmbench.workers.shipping import Main, receive, send

__all__ = ["Died", "Member"]

END_SECONDS = 10.0
"""How long a worker may take to end of its own accord, or to give up what it is doing."""
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from fmbench.workers.child import main; main()"


class Died(FmbenchError):
    """A worker's process has ended although nobody asked it to."""


class Member:
    """A started worker; ``end`` ends it. Whoever is told of its death has no more to do for it."""

    def __init__(self, number: int, *, loop: str, main: Main | None) -> None:
        self.number = number
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), *sys.argv[1:]]
        # A session of its own: what a terminal interrupts is the parent, which then ends its workers.
        self._process = subprocess.Popen(  # noqa: S603 - this Python
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._inbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._reader = threading.Thread(target=self._listen, args=(asyncio.get_running_loop(),), name=f"worker-{number}")
        self._reader.start()
        self.tell_packed(pickle.dumps({"loop": loop, "main": main}))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def how(self) -> str:
        """How it ended."""
        code = self._process.returncode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"

    def tell(self, kind: str, value: Any = None) -> None:
        """Say something short."""
        self.tell_packed(pickle.dumps((kind, value)))

    def tell_packed(self, data: bytes) -> None:
        with suppress(OSError):  # it has died, which its reader tells
            if self._process.stdin is not None:
                send(self._process.stdin, data)

    async def tell_much(self, kind: str, data: bytes) -> None:
        """Say something long, without holding up the loop."""
        await to_thread.run_sync(self.tell, kind, data)

    async def hear(self) -> tuple[str, Any]:
        """The next thing it says.

        Raises:
            Died: it has ended.
            Exception: what went wrong in it.
        """
        kind, value = await self._inbox.get()
        if kind == "died":
            self._inbox.put_nowait((kind, value))
            raise Died(f"worker {self.number} {self.how}")
        if kind == "failed":
            raise value
        return kind, value

    async def expect(self, kind: str) -> Any:
        """Wait until it says this; what it said of earlier work before is no longer of interest."""
        while True:
            said, value = await self.hear()
            if said == kind:
                return value

    async def give_up(self) -> None:
        """Make it leave off what it does, and wait until it has; one that cannot is killed."""
        self.tell("cancel")
        with move_on_after(END_SECONDS) as scope:
            while True:
                try:
                    await self.expect("idle")
                except Died:
                    return
                except Exception:  # noqa: BLE001, S112 - it was to be given up anyhow
                    continue
                return
        if scope.cancelled_caught:
            await self.end(0.0)

    async def end(self, seconds: float = END_SECONDS) -> None:
        """End the process and what reads from it."""
        with CancelScope(shield=True):
            if self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()
            await to_thread.run_sync(self._wait, seconds)

    def _wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._process.stdout is None:
            return
        with suppress(OSError, RuntimeError, ValueError):
            while (data := receive(self._process.stdout)) is not None:
                loop.call_soon_threadsafe(self._inbox.put_nowait, pickle.loads(data))  # noqa: S301 - from our own child
        self._process.wait()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._inbox.put_nowait, ("died", None))
