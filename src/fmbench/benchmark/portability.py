"""What workers would need of a benchmark, packed before anything is deployed, so that what cannot travel is refused in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fmbench.benchmark.cases import Asked
from fmbench.workers import Team, packed

__all__ = ["open_team", "portable_parts"]


def portable_parts(asked: Sequence[Asked]) -> dict[str, bytes]:
    """The parts, by what they are called: invokers, loads, parameters, and prompts that need not be drawn.

    Raises:
        ConfigError: one cannot be pickled.
    """
    parts: dict[str, bytes] = {}
    for one in asked:
        invoker = one.invoker or getattr(one.deployment.deployer, "invoker", None)
        parts[f"the invoker of {one.name}"] = packed(f"the invoker of {one.name}", invoker)
        parts[f"the load {one.load}"] = packed(f"the load {one.load}", one.load)
        if isinstance(one.prompts.source, Sequence):
            parts[f"prompts {one.prompts.name!r}"] = packed(f"prompts {one.prompts.name!r}", one.prompts.source)
    return parts


@asynccontextmanager
async def open_team(asked: Sequence[Asked], workers: int) -> AsyncGenerator[Team | None]:
    """The workers of a run; ``None`` where it measures in this process.

    Raises:
        ConfigError: a part cannot travel to a worker.
    """
    if workers == 1:
        yield None
        return
    loop = "uvloop" if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else "asyncio"
    team = Team(workers, loop=loop)
    async with team.open(portable_parts(asked)):
        yield team
