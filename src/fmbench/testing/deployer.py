"""What every deployer promises: whatever happens, nothing it made is left."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from fmbench import Deployer, Endpoint, Run
from fmbench.journal import Journal
from fmbench.testing.asserting import require

__all__ = ["check_deployer"]

SETTLE_SECONDS = 10.0
"""How long what is being ended may take to be gone."""
STEPS = (1, 2, 3, 4, 5, 7, 10, 15, 25, 40, 70, 120, 200)
"""At which of its awaits a deployment is cancelled, until one comes through."""


def check_deployer(make: Callable[[], Deployer], *, cancel: bool = True) -> None:
    """Check a deployer by deploying it: twice, with an error in the body, and cancelled at one await after another.

    Args:
        make: Returns the deployer; called for each deployment.
        cancel: Whether to cancel it too, which may take a dozen starts.

    Raises:
        AssertionError: it breaks a promise; for what is left, the message says what.
    """
    deployer = make()
    require(isinstance(deployer, Deployer), f"{deployer!r} has no deploy(run)")
    describe = getattr(deployer, "describe", None)
    require(describe is None or isinstance(describe(), Mapping), "describe() must return a mapping")
    anyio.run(_check, make, cancel)


async def _check(make: Callable[[], Deployer], cancel: bool) -> None:
    for _ in range(2):
        async with _clean("after use") as run:
            await _deployed(make(), run)
    async with _clean("after an error in the body") as run:
        await _failing(make(), run)
    for step in STEPS if cancel else ():
        async with _clean(f"after it was cancelled at await {step}") as run:
            if not await _cancelled(make(), run, step):
                return


async def _deployed(deployer: Deployer, run: Run) -> None:
    async with deployer.deploy(run) as endpoint:
        require(isinstance(endpoint, Endpoint), f"it yielded {endpoint!r}, which is not a fmbench.Endpoint")
        require(endpoint.name, "the endpoint has no name")
        require(endpoint.url, "the endpoint has no url")


async def _failing(deployer: Deployer, run: Run) -> None:
    class Mine(Exception):
        pass

    seen = False
    try:
        async with deployer.deploy(run):
            raise Mine  # noqa: TRY301 - it has to come from in here
    except Mine:
        seen = True
    except BaseExceptionGroup as group:
        seen = group.subgroup(Mine) is not None
    require(seen, "an error in the body did not come out of the deployer's context")


async def _cancelled(deployer: Deployer, run: Run, step: int) -> bool:
    """Cancel the deployment at its ``step``-th await; whether it had so many."""
    with anyio.CancelScope() as scope:

        async def whole() -> None:
            async with deployer.deploy(run):
                pass

        await _CancelAt(whole(), step, scope)
    return scope.cancel_called


class _CancelAt(Awaitable[None]):
    """Drives a coroutine by hand, and cancels a scope when it suspends for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], step: int, scope: anyio.CancelScope) -> None:
        self._coroutine = coroutine
        self._step = step
        self._scope = scope

    def __await__(self) -> Generator[Any, Any, None]:
        suspended, error, value = 0, None, None
        while True:
            try:
                waited = self._coroutine.throw(error) if error is not None else self._coroutine.send(value)
            except StopIteration:
                return
            suspended += 1
            if suspended == self._step:
                self._scope.cancel()
            error = value = None
            try:
                value = yield waited
            except BaseException as thrown:  # noqa: BLE001 - thrown into the coroutine, where it belongs
                error = thrown


@dataclass(frozen=True)
class _Seen:
    """What this process holds."""

    children: frozenset[int]
    sockets: frozenset[str]
    tasks: int


@asynccontextmanager
async def _clean(when: str) -> AsyncGenerator[Run]:
    """A run in a folder of its own, after which everything must be as before."""
    with tempfile.TemporaryDirectory() as folder:
        before = _seen()
        yield Run(name="check", directory=Path(folder), tags={"fmbench:run": "check"})
        deadline = time.monotonic() + SETTLE_SECONDS
        while not _less(after := _seen(), before) and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.02)
        require(
            after.children <= before.children, f"{when}, child processes are left: {sorted(after.children - before.children)}"
        )
        require(
            len(after.sockets) <= len(before.sockets),
            f"{when}, sockets are left open: {sorted(after.sockets - before.sockets)}",
        )
        require(after.tasks <= before.tasks, f"{when}, {after.tasks - before.tasks} tasks are left running")
        standing = Journal(Path(folder)).standing()
        require(not standing, f"{when}, the journal says that these still stand: {[entry['handle'] for entry in standing]}")


def _less(after: _Seen, before: _Seen) -> bool:
    return after.children <= before.children and len(after.sockets) <= len(before.sockets) and after.tasks <= before.tasks


def _seen() -> _Seen:
    return _Seen(frozenset(_children()), frozenset(_sockets()), len(asyncio.all_tasks()))


def _children() -> Iterator[int]:
    """This process's children; none where the system has no ``/proc``."""
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, task.read_text(encoding="ascii").split())


def _sockets() -> Iterator[str]:
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            if (target := os.readlink(entry)).startswith("socket:"):  # noqa: PTH115 - it is no path
                yield target
