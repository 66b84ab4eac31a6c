"""Deleting what stands, until it is gone."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anyio import create_task_group, fail_after, move_on_after, sleep

from fmbench.errors import FmbenchError

__all__ = ["Left", "delete_all"]

ATTEMPT_SECONDS = 300.0
"""How long one call of ``delete`` may take."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0
IN_FLIGHT_SECONDS = 60.0
"""For so long after it was announced, a request to create a thing may still be on its way, whoever sent it is gone or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A thing that is still there."""

    entry: Mapping[str, Any]
    why: str
    hopeless: bool
    """Whether there is nobody who could delete it, so that trying again is no use."""


async def delete_all(
    entries: Sequence[Mapping[str, Any]],
    deployer_of: Callable[[Mapping[str, Any]], Any],
    *,
    gone: Callable[[Any], None],
    limit_seconds: float,
    settle_seconds: float,
) -> list[Left]:
    """Delete things all at once, again and again until each is gone or the time is over; what is left.

    Args:
        entries: The journal's, or made-up ones with the same keys: ``handle``, ``at``.
        deployer_of: Gives the deployer of an entry.
        gone: Told the handle of each thing that is gone; that it cannot write that down keeps nothing from being deleted.
        limit_seconds: For all together.
        settle_seconds: For how long a thing announced lately must stay away before it counts as gone, since the request
            that creates it may still arrive.

    Returns:
        What is still there.
    """
    left = {number: Left(entry=entry, why="its deletion has not ended", hopeless=False) for number, entry in enumerate(entries)}

    async def one(number: int, entry: Mapping[str, Any]) -> None:
        try:
            deployer = deployer_of(entry)
        except FmbenchError as error:
            left[number] = Left(entry=entry, why=str(error), hopeless=True)
            return
        async for why in _attempts(deployer, entry, settle_seconds):
            left[number] = Left(entry=entry, why=why, hopeless=False)
        with suppress(OSError):
            gone(entry["handle"])
        del left[number]

    with move_on_after(limit_seconds):
        async with create_task_group() as group:
            for number, entry in enumerate(entries):
                group.start_soon(one, number, entry)
    return list(left.values())


async def _attempts(deployer: Any, entry: Mapping[str, Any], settle_seconds: float) -> AsyncIterator[str]:
    """Why it is not gone yet, again and again until it is."""
    pause, gone_since = FIRST_PAUSE_SECONDS, None
    while True:
        why = await _attempt(deployer, entry["handle"])
        if why is None:
            gone_since = time.monotonic() if gone_since is None else gone_since
            away = time.monotonic() - gone_since >= settle_seconds
            if away or time.time() - entry["at"] >= IN_FLIGHT_SECONDS:
                return
            await sleep(max(0.05, settle_seconds / 4))
            continue
        gone_since = None
        yield why
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _attempt(deployer: Any, handle: Any) -> str | None:
    """Ask once; why it is not gone, or ``None``."""
    try:
        with fail_after(ATTEMPT_SECONDS):
            gone = deployer.delete(handle)
            if inspect.isawaitable(gone):
                gone = await gone
    except TimeoutError:
        return f"delete took longer than {ATTEMPT_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever it raises, the thing may stand, and is tried again
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None if gone else "it is being deleted, and is not gone yet"
