"""What a run's deployers leave behind: deleted by their own ``delete``, and told where that does not help."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from anyio import CancelScope

from fmbench.benchmark.run_file import RunFile
from fmbench.errors import FmbenchError
from fmbench.journal import Entries, Journal, delete_all, revive

__all__ = ["note_standing", "take_down", "take_down_earlier"]

LEFTOVER_SECONDS = 30.0
"""How long the run itself tries; the watchdog goes on."""
SETTLE_SECONDS = 3.0
UNWATCHED = "had this process been killed, nothing could have deleted what it made; define it in a module"
logger: logging.Logger = logging.getLogger("fmbench")


async def take_down(entries: Entries, deployer: Any, run_file: RunFile) -> None:
    """Delete what a deployment's own context has not; cancelling does not reach in here.

    Args:
        entries: What it created.
        deployer: Whose.
        run_file: Where to note that it was needed.
    """
    if entries.unwatched:
        cls = type(deployer).__qualname__
        run_file.problem("watchdog", "unwatched", f"{cls} is a function's or a notebook's: {UNWATCHED}")
    standing = entries.standing()
    if not standing:
        return
    run_file.problem("deleting", "left_behind", f"the deployer left {_names(standing)} behind; deleting it now")
    with CancelScope(shield=True):
        await delete_all(
            standing,
            lambda _: _able(deployer),
            gone=entries.deleted,
            limit_seconds=LEFTOVER_SECONDS,
            settle_seconds=SETTLE_SECONDS,
        )


async def take_down_earlier(journal: Journal, run_file: RunFile) -> None:
    """Delete what an earlier process of a resumed run could not."""
    standing = journal.standing()
    if standing:
        run_file.problem("deleting", "left_behind", f"an earlier sitting left {_names(standing)} behind; deleting it now")
        await delete_all(
            standing,
            lambda entry: revive(entry.get("deployer"), besides=run_file.directory),
            gone=journal.deleted,
            limit_seconds=LEFTOVER_SECONDS,
            settle_seconds=0.0,
        )


def note_standing(journal: Journal, run_file: RunFile) -> None:
    """Note, loudly, what stands at the end of a run: it goes on costing."""
    for entry in journal.standing():
        text = f"{json.dumps(entry['handle'])} could not be deleted, and costs {_rate(entry)}; delete it with: fmbench cleanup"
        run_file.problem("deleting", "standing", f"{text} {run_file.directory}")
        logger.error("%s %s", text, run_file.directory)


def _able(deployer: Any) -> Any:
    if not callable(getattr(deployer, "delete", None)):
        raise FmbenchError("its deployer has no delete(handle)")
    return deployer


def _names(standing: list[dict[str, Any]]) -> str:
    return ", ".join(json.dumps(entry["handle"]) for entry in standing)


def _rate(entry: Mapping[str, Any]) -> str:
    rate = entry.get("usd_per_hour")
    return "an amount that is not known" if rate is None else f"{rate:g} USD an hour"
