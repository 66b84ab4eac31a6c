"""Everything that fmbench may have left standing: by journals, and by tags where deployers can look for those."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fmbench.errors import ConfigError, FmbenchError
from fmbench.journal.identity import bare, class_name, find_class
from fmbench.journal.log import Journal, key_of
from fmbench.journal.process import is_running
from fmbench.journal.state import noted
from fmbench.journal.tags import KEEP, OWNER, RUN, deadline_of
from fmbench.plugins import DEPLOYERS
from fmbench.types import Found

__all__ = ["Survey", "Thing", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that stands.

    Args:
        handle: What its deployer's ``delete`` takes.
        run: The id of the run that made it; ``None`` where it is not known.
        directory: That run's folder, where it is known.
        usd_per_hour: What it costs; ``None`` where that is not known.
        deadline: When its run must be over, in seconds since the epoch.
        keep: Whether it was to be kept.
        owner: Who began the run, by its tag.
        over: Whether its run is over; ``None`` where that cannot be known from here.
        deployer: Who deletes it, as ``identify`` names it.
        at: When it was announced, in seconds since the epoch; 0 where that is not known.
    """

    handle: Any
    run: str | None
    directory: Path | None
    usd_per_hour: float | None
    deadline: float | None
    keep: bool
    owner: str | None
    over: bool | None
    deployer: Mapping[str, Any] | None
    at: float = 0.0


@dataclass(slots=True)
class Survey:
    """What was found, and what could not be looked at.

    Args:
        things: Each thing once.
        unseen: Where tags could not be looked for, and why.
        looked: The classes whose things were looked for by tags.
        regions: Where that was, by name; ``None`` is where a deployer looks by itself.
    """

    things: list[Thing] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    looked: set[str] = field(default_factory=set)
    regions: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A run's folder, and what is known of the run."""

    directory: Path
    run: str | None
    over: bool | None
    regions: frozenset[str]
    deployers: Sequence[Mapping[str, Any]]
    """The classes that created things there, as the user's list and the journal have them."""


async def survey(directory: Path | None, *, regions: Sequence[str] = ()) -> Survey:
    """Look for what stands: in one run's folder, or in all folders of the user's list and wherever tags can be looked for.

    Args:
        directory: The run's folder, whatever is left of it; ``None`` for everything.
        regions: Where to look for tags too, besides each deployer's own default and where the runs were.

    Raises:
        ConfigError: nothing is known of a run in that folder.
    """
    places = [_place(Path(entry["directory"]), entry) for entry in noted()] if directory is None else [_known(directory)]
    found = Survey()
    by_key: dict[str, Thing] = {}
    for place in places:
        by_key |= {key_of(thing.handle): thing for thing in _in_journal(place)}
    asked = sorted(frozenset(regions).union(*(place.regions for place in places)))
    wanted = None if directory is None else places[0].run
    if directory is None or wanted is not None:
        seekers = _seekers(found, places, registered=directory is None or not Journal(directory).path.exists())
        found.regions = [None, *asked]
        async for thing in _by_tags(found, seekers, wanted, found.regions, {place.run: place for place in places}):
            by_key[key_of(thing.handle)] = _joined(by_key.get(key_of(thing.handle)), thing)
    found.things = list(by_key.values())
    return found


def _known(directory: Path) -> _Place:
    noted_here = [entry for entry in noted() if Path(entry["directory"]) == directory.absolute()]
    place = _place(directory, noted_here[0] if noted_here else {})
    if place.run is None and not Journal(directory).path.exists():
        raise ConfigError(f"{directory} holds no run (neither journal.jsonl nor run.json), and none of that folder is known")
    return place


def _place(directory: Path, entry: Mapping[str, Any]) -> _Place:
    """What the journal, ``run.json`` and the user's list say of a run, whichever of them are there."""
    journal = Journal(directory)
    begun = journal.sitting() or {}
    document = _run_json(directory)
    run = begun.get("run") or document.get("run_id") or entry.get("run")
    process = document.get("process") or begun.get("process") or entry.get("process")
    over: bool | None = journal.is_over() or document.get("state") in {"finished", "cancelled"}
    if not over and process is not None:
        running = is_running(process)
        over = None if running is None else not running
    facts = [deployment.get("facts", {}) for deployment in document.get("deployments", [])]
    handles = [one.get("handle") for one in journal.entries()]
    told = [*facts, *(handle for handle in handles if isinstance(handle, dict))]
    named = [*entry.get("deployers", ()), *(one["deployer"] for one in journal.entries() if one.get("deployer"))]
    return _Place(
        directory=directory.absolute(),
        run=run,
        over=over,
        regions=frozenset([*entry.get("regions", ()), *(one["region"] for one in told if one.get("region"))]),
        deployers=list({one["class"]: one for one in named}.values()),
    )


def _run_json(directory: Path) -> dict[str, Any]:
    try:
        document = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _in_journal(place: _Place) -> Iterator[Thing]:
    journal = Journal(place.directory)
    begun = journal.sitting() or {}
    for entry in (*journal.standing(), *journal.kept()):
        yield Thing(
            handle=entry.get("handle"),
            run=place.run,
            directory=place.directory,
            usd_per_hour=entry.get("usd_per_hour"),
            deadline=entry.get("deadline"),
            keep=bool(entry.get("keep")),
            owner=begun.get("tags", {}).get(OWNER),
            over=place.over,
            deployer=entry.get("deployer"),
            at=entry["at"],
        )


async def _by_tags(
    found: Survey,
    seekers: Sequence[Mapping[str, Any]],
    run: str | None,
    regions: Sequence[str | None],
    places: Mapping[str | None, _Place],
) -> AsyncIterator[Thing]:
    for classes in seekers:
        cls = next(iter(classes.values()))
        try:
            for region in regions:
                for one in await _asked(cls, {RUN: run}, region):
                    if one.tags.get(RUN) and run in {None, one.tags[RUN]}:
                        yield _tagged(cls, one, places.get(one.tags[RUN]))
            found.looked.update(classes)
        except Exception as error:  # noqa: BLE001 - one deployer that cannot look must not keep others from it
            found.unseen.append(f"{cls.__name__}: {' '.join(str(error).split()) or type(error).__name__}")


async def _asked(cls: Any, tags: Mapping[str, str | None], region: str | None) -> Sequence[Found]:
    """Ask one class; one that takes no region is asked once."""
    find = bare(cls).find
    takes_region = "region" in inspect.signature(find).parameters
    if region is not None and not takes_region:
        return ()
    things = find(tags, region=region) if takes_region else find(tags)
    return list(await things if inspect.isawaitable(things) else things)


def _seekers(found: Survey, places: Iterable[_Place], *, registered: bool) -> list[dict[str, Any]]:
    """The classes that can look for tags, registered ones and those that created things; those that look alike together."""
    classes: dict[str, Any] = {}
    for name in DEPLOYERS.names() if registered else ():
        try:
            cls = DEPLOYERS.load(name)
        except FmbenchError as error:
            found.unseen.append(str(error))
        else:
            if isinstance(cls, type):
                classes[class_name(cls)] = cls
    for place in places:
        for identity in place.deployers:
            try:
                classes[identity["class"]] = find_class(identity["class"], identity.get("file"), besides=place.directory)
            except FmbenchError as error:
                found.unseen.append(str(error))
    seekers: dict[Any, dict[str, Any]] = {}
    for name, cls in classes.items():
        find = getattr(cls, "find", None)
        if callable(find):
            seekers.setdefault(getattr(find, "__func__", find), {})[name] = cls
    return list(seekers.values())


def _tagged(cls: Any, found: Found, place: _Place | None) -> Thing:
    return Thing(
        handle=found.handle,
        run=found.tags[RUN],
        directory=None if place is None else place.directory,
        usd_per_hour=found.usd_per_hour,
        deadline=deadline_of(found.tags),
        keep=found.tags.get(KEEP) == "true",
        owner=found.tags.get(OWNER),
        over=None if place is None else place.over,
        deployer={"class": class_name(cls), "file": inspect.getsourcefile(cls)},
    )


def _joined(journal: Thing | None, tagged: Thing) -> Thing:
    """What both say of one thing; the journal knows who made it, and whether it came so far as to be kept."""
    if journal is None:
        return tagged
    rate = tagged.usd_per_hour if journal.usd_per_hour is None else journal.usd_per_hour
    deadline = tagged.deadline if journal.deadline is None else journal.deadline
    return replace(journal, usd_per_hour=rate, deadline=deadline, deployer=journal.deployer or tagged.deployer)
