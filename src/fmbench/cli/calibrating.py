"""``fmbench calibrate``: this machine's error budget."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from fmbench.calibration import Calibration

__all__ = ["calibrate"]

HEADINGS = ("streams", "TTFT\np50", "\np99", "ITL\np50", "\np99", "latency\np50", "\np99", "shared\nreads", "server\nlate", "")


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder; runs/calibrate-TIME by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def calibrate(*, out: Path | None, as_json: bool) -> NoReturn:
    """Measure how far off this machine's figures are, in half a minute.

    A server that logs what it did is driven at several numbers of streams; reported minus true is the error. Exit status 1
    where the machine does not keep to the budget, or where nothing can be told.
    """
    from fmbench import RunDirectoryError  # noqa: PLC0415 - only this command needs it
    from fmbench.calibration import calibrate as measured  # noqa: PLC0415 - only this command needs it
    from fmbench.calibration.page import write_calibration  # noqa: PLC0415 - only this command needs it
    from fmbench.cli.ending import DONE, INVALID  # noqa: PLC0415 - only this command needs it
    from fmbench.cli.progress import shown_progress  # noqa: PLC0415 - only this command needs it
    from fmbench.cli.running import default_directory  # noqa: PLC0415 - only this command needs it
    from fmbench.cli.signals import interruptible  # noqa: PLC0415 - only this command needs it

    try:
        with shown_progress(["paced", "flood"]) as screen, interruptible(screen.say):
            calibration = measured(out or default_directory("calibrate"), on_progress=screen)
    except RunDirectoryError as error:
        told, resuming, _ = str(error).partition(": resume it")  # a calibration is measured in one go
        raise RunDirectoryError(f"{told}: give another folder" if resuming else str(error)) from error
    page, _ = write_calibration(calibration)
    if as_json:
        click.echo(json.dumps(calibration.as_dict(), indent=2, allow_nan=False))
    else:
        _show(calibration, page)
    sys.exit(DONE if calibration.met else INVALID)


def _show(calibration: Calibration, page: Path) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where a person reads it
    from rich.table import Table  # noqa: PLC0415 - only where a person reads it

    from fmbench.calibration.page import headline  # noqa: PLC0415 - only where a person reads it

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 80)
    table = Table(box=None, padding=(0, 1, 0, 0), title="Reported minus true (ms)", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for level in calibration.levels:
        spreads = (level.ttft_error, level.itl_error, level.latency_error)
        cells = [_ms(value) for spread in spreads for value in ((None, None) if spread is None else (spread.p50, spread.p99))]
        late = None if level.server_lateness is None else level.server_lateness.p99
        outcome = calibration.budget.judge(level).outcome
        table.add_row(str(level.streams), *cells, f"{level.coalesced_share:.2%}", _ms(late), outcome)
    console.print(table)
    for one in calibration.capacities:
        whole = "" if one.per_core is None else f", about {one.per_core:,.0f} for a whole core"
        limit = "" if one.limited_by is None else f" (the limit was the {one.limited_by}{whole})"
        kind = "unstreamed requests" if one.what == "requests" else "streamed tokens"
        rate = "not known: measured for too short a time" if one.per_second is None else f"{one.per_second:,.0f}"
        console.print(f"{kind} a second: {rate}{limit}", soft_wrap=True)
    console.print(f"\n{headline(calibration)}\nThe page: {page}", soft_wrap=True)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3f}"
