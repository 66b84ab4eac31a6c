"""Letting the loop turn once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anyio.lowlevel import checkpoint

__all__ = ["turn_of_this_loop"]


def turn_of_this_loop() -> Callable[[], Awaitable[None]]:
    """What lets the running loop turn once: on asyncio a bare yield costs a fraction of anyio's own way."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return checkpoint  # trio
    return _turn_asyncio


async def _turn_asyncio() -> None:
    await asyncio.sleep(0)
