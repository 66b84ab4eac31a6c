"""What ``fmbench cleanup`` does: choose among what stands, and delete it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmbench.errors import ConfigError
from fmbench.journal.deleting import delete_all
from fmbench.journal.identity import revive
from fmbench.journal.log import Journal
from fmbench.journal.state import forget, noted
from fmbench.journal.survey import Survey, Thing, survey

__all__ = ["Cleanup", "Wish", "clean"]

LIMIT_SECONDS = 1800.0
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be deleted; by itself, what runs that are over have left.

    Args:
        directory: Of this run only.
        expired: Only what is past its deadline, whether its run is over or not.
        everything: What is of runs that go on, too, and of others' runs.
        kept: What was to be kept, too.
        dry_run: Only tell.
        regions: Where to look for tags, besides where deployers look by themselves.
    """

    directory: Path | None = None
    expired: bool = False
    everything: bool = False
    kept: bool = False
    dry_run: bool = False
    regions: Sequence[str] = ()

    def why_not(self, thing: Thing, now: float) -> str | None:
        """Why a thing is left alone; ``None`` where it is to be deleted."""
        if thing.keep and not self.kept:
            return "keep=True asked for it (--kept deletes it)"
        late = thing.deadline is not None and now >= thing.deadline
        if self.everything or late:
            return None
        if self.expired:
            return "it has no deadline" if thing.deadline is None else "its deadline has not passed"
        if thing.over is None:
            return "whether its run is over cannot be known here (--all deletes it)"
        return None if thing.over else "its run still goes on (--all deletes it)"


@dataclass(slots=True)
class Cleanup:
    """What became of everything that was found.

    Args:
        deleted: What is gone now, or would be deleted.
        left: What was left alone, with the reason.
        failed: What could not be deleted, with the reason.
        unseen: Where tags could not be looked for, and why. Then that nothing is left is not known.
        regions: Where tags were looked for besides where deployers look by themselves.
    """

    deleted: list[Thing] = field(default_factory=list)
    left: list[tuple[Thing, str]] = field(default_factory=list)
    failed: list[tuple[Thing, str]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)


async def clean(wish: Wish, begin: Callable[[Thing], None]) -> Cleanup:
    """Find what stands, delete what is wished, and tell.

    Args:
        wish: What to delete.
        begin: Told each thing whose deletion begins.

    Raises:
        ConfigError: nothing is known of the folder, or nothing could be looked at.
    """
    found = await survey(wish.directory, regions=wish.regions)
    _refuse_blindness(wish, found)
    outcome, now, chosen = Cleanup(unseen=found.unseen, regions=[one for one in found.regions if one]), time.time(), []
    for thing in found.things:
        why = wish.why_not(thing, now)
        if why is not None:
            outcome.left.append((thing, why))
        elif wish.dry_run:
            outcome.deleted.append(thing)
        else:
            begin(thing)
            chosen.append(thing)
    entries = [{"handle": thing.handle, "at": thing.at, "thing": thing} for thing in chosen]
    left = await delete_all(entries, _deployer, gone=lambda _: None, limit_seconds=LIMIT_SECONDS, settle_seconds=SETTLE_SECONDS)
    outcome.failed = [(one.entry["thing"], one.why) for one in left]
    failed = {id(thing) for thing, _ in outcome.failed}
    for thing in (thing for thing in chosen if id(thing) not in failed):
        outcome.deleted.append(thing)
        if thing.directory is not None and Journal(thing.directory).path.exists():
            Journal(thing.directory).deleted(thing.handle)
    _forget_what_is_done(wish, outcome, found.looked)
    return outcome


def _refuse_blindness(wish: Wish, found: Survey) -> None:
    """Without a journal and without tags, that nothing was found says nothing."""
    if wish.directory is not None and not Journal(wish.directory).path.exists() and not found.looked:
        reasons = "; ".join(found.unseen) or "no deployer that is installed can look for tags"
        raise ConfigError(f"{wish.directory} holds no journal, and tags could not be looked for: {reasons}")


def _deployer(entry: Any) -> Any:
    thing: Thing = entry["thing"]
    return revive(thing.deployer, besides=thing.directory)


def _forget_what_is_done(wish: Wish, outcome: Cleanup, looked_for: set[str]) -> None:
    """Take off the user's list what has nothing standing any more, as far as was looked."""
    if wish.dry_run:
        return
    left = {thing.directory for thing, _ in (*outcome.left, *outcome.failed)}
    for entry in noted():
        directory = Path(entry["directory"])
        looked = wish.directory is None or directory == wish.directory.absolute()
        # Without a journal, that nothing is found counts only where all who may have made something could look.
        sure = Journal(directory).path.exists() or {one["class"] for one in entry["deployers"]} <= looked_for
        if looked and sure and directory not in left:
            forget(directory)
