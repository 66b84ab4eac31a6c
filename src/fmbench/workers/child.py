"""A worker's process: it connects, encodes, waits for the common beginning, measures, and says how it went.

It hears its parent on standard input and ends when that closes, which it does however the parent ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import IO, Any

import anyio
from anyio import create_task_group

from fmbench.engine import Engine, engine_for
from fmbench.errors import ConfigError, FmbenchError
from fmbench.interfaces import Session
from fmbench.recording import RecordLog
from fmbench.workers.lost import dealt
from fmbench.workers.seat import encoded, observed
from fmbench.workers.shipping import Job, adopt_main, receive, send

__all__ = ["main"]

END_SECONDS = 5.0
"""How long a worker whose parent has gone may take to close its log."""

Inbox = asyncio.Queue[tuple[str, Any]]


def main() -> None:
    """Be a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's to say what an interrupt ends
    heard, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an adapter prints goes where errors go
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process lives
    hello = receive(heard)
    if hello is None:
        return
    told: dict[str, Any] = pickle.loads(hello)  # noqa: S301 - from our own parent, over our own pipe
    anyio.run(_serve, heard, said, told, backend="asyncio", backend_options={"use_uvloop": told["loop"] == "uvloop"})


async def _serve(heard: IO[bytes], said: IO[bytes], told: dict[str, Any]) -> None:
    inbox: Inbox = asyncio.Queue()
    threading.Thread(target=_listen, args=(heard, asyncio.get_running_loop(), inbox), daemon=True).start()
    say = partial(_say, said)
    if told["main"] is not None:
        try:
            adopt_main(told["main"])
        except BaseException as error:  # noqa: BLE001 - whatever the program does when it is imported
            why = str(error) or type(error).__name__
            say("failed", ConfigError(f"workers: a worker imports this program, and that failed: {why}"))
            return
    say("up", os.getpid())
    while True:
        kind, value = await inbox.get()
        if kind == "end":
            return
        if kind == "try":
            say(*_tried(value))
        elif kind == "job":
            await _Work(inbox, say).do(value)


def _listen(heard: IO[bytes], loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
    """Pass on what the parent says; when it has gone, end soon in any case."""
    with suppress(OSError, RuntimeError):
        while (data := receive(heard)) is not None:
            loop.call_soon_threadsafe(inbox.put_nowait, pickle.loads(data))  # noqa: S301 - from our own parent
        loop.call_soon_threadsafe(inbox.put_nowait, ("end", None))
    time.sleep(END_SECONDS)
    os._exit(1)


def _say(said: IO[bytes], kind: str, value: Any) -> None:
    with suppress(OSError):  # the parent has gone
        send(said, pickle.dumps((kind, value)))


def _tried(data: bytes) -> tuple[str, Any]:
    try:
        pickle.loads(data)  # noqa: S301 - from our own parent
    except Exception as error:  # noqa: BLE001 - whatever importing it raises
        return "failed", ConfigError(f"a worker cannot load it: {type(error).__name__}: {error}")
    return "tried", None


def _portable(error: BaseException) -> Exception:
    """The error itself where it survives the journey, else what it says."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    with suppress(Exception):
        back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        if isinstance(back, Exception) and str(back) == str(error):
            return back
    return FmbenchError(f"{type(error).__name__}: {error}")


class _Work:
    """One job. What the parent says meanwhile comes by the inbox, and so does the news that the job is over."""

    def __init__(self, inbox: Inbox, say: Any) -> None:
        self._inbox = inbox
        self._say = say
        self._begin: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._engine: Engine | None = None

    async def do(self, data: bytes) -> None:
        async with create_task_group() as group:
            group.start_soon(self._measure, data)
            while True:
                kind, value = await self._inbox.get()
                if kind == "over":
                    return
                if kind in {"cancel", "end"}:
                    group.cancel_scope.cancel()
                    if kind == "end":
                        self._inbox.put_nowait((kind, value))
                    return
                self._hear(kind, value)

    def _hear(self, kind: str, value: Any) -> None:
        if kind == "go" and not self._begin.done():
            self._begin.set_result(value)
        elif self._engine is not None and kind == "stop":
            self._engine.stop(value)
        elif self._engine is not None and kind == "started":
            self._engine.started_elsewhere(value)

    async def _measure(self, data: bytes) -> None:
        try:
            job: Job = pickle.loads(data)  # noqa: S301 - from our own parent
            async with job.invoker.connect(job.endpoint, concurrency=job.concurrency) as session:
                ended = await self._run(session, job)
        except Exception as error:  # noqa: BLE001 - the parent tells it
            self._say("failed", _portable(error))
        else:
            self._say("done", ended)
        finally:
            self._inbox.put_nowait(("over", None))
            self._say("idle", None)

    async def _run(self, session: Session, job: Job) -> Any:
        requests, lines = encoded(session, job.assignment, dealt(job.assignment))
        log = RecordLog(job.log)
        try:
            self._say("ready", lines)
            begin = await self._begin
            facts: dict[str, Any] = {}
            async with observed(session, facts) as paced:
                self._engine = engine_for(job.assignment)(
                    session,
                    dataclasses.replace(job.assignment, requests=requests),
                    log,
                    now=time.perf_counter_ns,
                    alarm=paced,
                    begin=begin,
                    on_start=partial(self._say, "started"),
                )
                outcome = await self._engine.run()
        finally:
            log.close()
        return outcome, facts
