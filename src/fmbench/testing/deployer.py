"""What every deployer promises: whatever happens, nothing it made is left."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from fmbench import Deployer, Endpoint, Run
from fmbench.journal import Journal, can_delete, identify, revive
from fmbench.testing.asserting import require
from fmbench.testing.cancelling import CancelEverywhere
from fmbench.testing.left_behind import LeftBehind

__all__ = ["check_deployer"]

SETTLE_SECONDS = 10.0
"""How long what is being ended may take to be gone."""
ATTEMPTS = 200
"""How often a deployment is cancelled at most."""


def check_deployer(make: Callable[[], Deployer], *, cancel: bool = True) -> None:
    """Check a deployer by deploying it: twice, with an error in the body, and cancelled at one await after another.

    Each await is cancelled in a deployment of its own, the first three times that it comes by, up to and including those
    of its undoing; so a deployer is started as often as it has awaits. What it announced by ``run.creating`` must be such that
    ``delete(handle)`` of the deployer as another process makes it again says that it is gone, however often it is asked.

    Args:
        make: Returns the deployer; called for each deployment.
        cancel: Whether to cancel it too.

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
        async with _clean() as (run, left):
            await _deployed(make(), run, left)
            await _require_nothing(left, "after use")
            await _require_deletable(make(), run.directory)
    async with _clean() as (run, left):
        await _failing(make(), run, left)
        await _require_nothing(left, "after an error in the body")
    everywhere = CancelEverywhere()
    for _ in range(ATTEMPTS if cancel else 0):
        async with _clean() as (run, left):
            place = await everywhere.attempt(_whole(make(), run), left.look)
            if place is None:
                return
            await _require_nothing(left, f"after it was cancelled at {place}")


async def _deployed(deployer: Deployer, run: Run, left: LeftBehind) -> None:
    async with deployer.deploy(run) as endpoint:
        left.look()
        require(isinstance(endpoint, Endpoint), f"it yielded {endpoint!r}, which is not a fmbench.Endpoint")
        require(endpoint.name, "the endpoint has no name")
        require(endpoint.url, "the endpoint has no url")


async def _failing(deployer: Deployer, run: Run, left: LeftBehind) -> None:
    class Mine(Exception):
        pass

    seen = False
    try:
        async with deployer.deploy(run):
            left.look()
            raise Mine  # noqa: TRY301 - it has to come from in here
    except Mine:
        seen = True
    except BaseExceptionGroup as group:
        seen = group.subgroup(Mine) is not None
    require(seen, "an error in the body did not come out of the deployer's context")


async def _require_deletable(deployer: Deployer, folder: Path) -> None:
    """What was made, and is gone, must be gone for another process, too."""
    handles = [entry["handle"] for entry in Journal(folder).entries() if entry["event"] == "creating"]
    if not handles:
        return
    require(can_delete(deployer), "it calls run.creating(handle), and has no delete(handle)")
    identity = identify(deployer)
    again: Any = deployer if identity is None else revive(json.loads(json.dumps(identity)))
    for handle in handles * 2:
        try:
            gone = await again.delete(handle)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise AssertionError(f"delete({handle}) of a deployer made again from its plain attributes: {said}") from error
        require(gone, f"delete({handle}) says of what is gone that it is not")


async def _whole(deployer: Deployer, run: Run) -> None:
    async with deployer.deploy(run):
        await anyio.lowlevel.checkpoint()  # one may be cancelled while it is used, too


@asynccontextmanager
async def _clean() -> AsyncGenerator[tuple[Run, LeftBehind]]:
    """A run in a folder of its own, and what was there before."""
    with tempfile.TemporaryDirectory() as folder:
        yield Run(name="check", directory=Path(folder), tags={"fmbench:run": "check"}), LeftBehind(Path(folder))


async def _require_nothing(left: LeftBehind, when: str) -> None:
    """Wait for what is being ended, and name what is not."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (reasons := left.reasons()) and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event for it
        await anyio.sleep(0.02)
    require(not reasons, f"{when}, {'; '.join(reasons)}")
