"""``fmbench cleanup``: delete what runs have left."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from fmbench.journal.cleanup import Cleanup
    from fmbench.journal.survey import Thing

__all__ = ["cleanup"]


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--expired", is_flag=True, help="Only what is past its deadline, whether its run is over or not.")
@click.option("--all", "everything", is_flag=True, help="What is of runs that go on too, and of everybody's in the account.")
@click.option("--kept", is_flag=True, help="What keep=True has left, too.")
@click.option("--region", "regions", multiple=True, help="Look for tags there too; may be given again.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def cleanup(
    *,
    directory: Path | None,
    expired: bool,
    everything: bool,
    kept: bool,
    regions: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> NoReturn:
    """Delete what runs that are over have left standing: the run's in DIRECTORY, or everybody's that can be found.

    Found by journals, and by tags; either may be lost. What carries no tag of ours, and is in no journal, is never touched.
    Exit status 3 where something could not be deleted, or could not be looked for.
    """
    from functools import partial  # noqa: PLC0415 - only this command needs it

    import anyio  # noqa: PLC0415 - only this command needs it

    from fmbench.cli.ending import DONE, STANDING, say  # noqa: PLC0415 - only this command needs it
    from fmbench.journal.cleanup import Wish, clean  # noqa: PLC0415 - only this command needs it

    if expired and everything:
        raise click.UsageError("give --expired or --all, not both")
    wish = Wish(directory=directory, expired=expired, everything=everything, kept=kept, dry_run=dry_run, regions=regions)
    outcome = anyio.run(partial(clean, wish, lambda thing: say(f"deleting {_line(thing)}")))
    for one in outcome.unseen:
        say(f"could not look for tags: {one}")
    if as_json:
        click.echo(json.dumps(_object(outcome, dry_run=dry_run), indent=2))
    else:
        _show(outcome, dry_run=dry_run)
    for thing, why in outcome.failed:
        say(f"STILL THERE, {_line(thing)}: {why}")
    sys.exit(STANDING if outcome.failed or outcome.unseen else DONE)


def _show(outcome: Cleanup, *, dry_run: bool) -> None:
    for thing in outcome.deleted:
        click.echo(f"{'would delete' if dry_run else 'deleted'}  {_line(thing)}")
    for thing, why in outcome.left:
        click.echo(f"left  {_line(thing)}: {why}")
    if not (outcome.deleted or outcome.left or outcome.failed):
        places = ", ".join(["the default region", *outcome.regions])
        if outcome.unseen:
            click.echo("nothing of ours was found, but not everywhere could be looked; see standard error")
        else:
            click.echo(f"nothing of ours stands, as far as journals and tags tell (looked in {places})")


def _line(thing: Thing) -> str:
    from fmbench.cli.billing import price  # noqa: PLC0415 - see above

    words = [json.dumps(thing.handle), price(thing.usd_per_hour), f"run {thing.run}"]
    if thing.deadline is not None:
        words.append(f"deadline {datetime.fromtimestamp(thing.deadline, UTC):%Y-%m-%d %H:%M} UTC")
    if thing.owner is not None:
        words.append(f"of {thing.owner}")
    return ", ".join(words)


def _object(outcome: Cleanup, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "deleted": [_fields(thing) for thing in outcome.deleted],
        "left": [{**_fields(thing), "reason": why} for thing, why in outcome.left],
        "failed": [{**_fields(thing), "reason": why} for thing, why in outcome.failed],
        "unseen": outcome.unseen,
        "regions": outcome.regions,
    }


def _fields(thing: Thing) -> dict[str, Any]:
    return {
        "handle": thing.handle,
        "run": thing.run,
        "directory": None if thing.directory is None else str(thing.directory),
        "usd_per_hour": thing.usd_per_hour,
        "deadline": thing.deadline,
        "keep": thing.keep,
        "owner": thing.owner,
    }
