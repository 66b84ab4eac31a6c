"""Running a benchmark for the terminal: where it goes, how it goes, what came out, and the exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click

from fmbench import Benchmark, Result
from fmbench.cli.ending import EXPECTED, STANDING, drop_stdout, say, tell
from fmbench.cli.outcome import exit_status, kept, nothing_measured, standing
from fmbench.cli.progress import shown_progress
from fmbench.cli.showing import result_object, show_result
from fmbench.cli.signals import interruptible

__all__ = ["default_directory", "guarded", "run_benchmark", "tell_standing"]

T = TypeVar("T")

INTERRUPTED_RUN = "interrupted; everything that was deployed is taken down, and what was measured is in {}"
RESUMING = ": go on with --out {} --resume"


def run_benchmark(
    benchmark: Benchmark,
    out: Path | None,
    *,
    as_json: bool,
    resume: bool = False,
    resumable: bool = True,
    requests_per_minute: float | None = None,
) -> int:
    """Run it and print what came out; the exit status.

    Args:
        benchmark: What to run.
        out: The run's folder; ``None`` takes one by name and time.
        as_json: Whether to print one JSON object.
        resume: Whether to go on with an unfinished run.
        resumable: Whether the user can be told to resume.
        requests_per_minute: The rate to advise for.
    """
    directory = default_directory(benchmark.name) if out is None else out
    result = guarded(lambda: _run(benchmark, directory, resume=resume), directory, resumable=resumable)
    if isinstance(result, int):
        return result
    left = tell_standing(directory)  # before the rest, which may have no reader
    if (why := nothing_measured(result)) is not None:
        say(why)
    try:
        _print(result, requests_per_minute, as_json=as_json)
    except BrokenPipeError:
        drop_stdout()
    return STANDING if left else exit_status(result)


def guarded(work: Callable[[], T], directory: Path, *, resumable: bool) -> T | int:
    """Do it, and give its outcome; the exit status, where it was interrupted or went wrong as things do.

    Args:
        work: The run.
        directory: Its folder.
        resumable: Whether the user can be told to resume.
    """
    try:
        return work()
    except KeyboardInterrupt:
        ended = KeyboardInterrupt(INTERRUPTED_RUN.format(directory) + (RESUMING.format(directory) if resumable else ""))
        return STANDING if tell_standing(directory) else tell(ended)
    except EXPECTED as error:
        status = tell(error)
        return STANDING if tell_standing(directory) else status
    except BaseException:
        tell_standing(directory)
        raise


def _run(benchmark: Benchmark, directory: Path, *, resume: bool) -> Result:
    planned = [row.deployment for row in benchmark.plan().rows]
    with shown_progress(planned) as screen, interruptible(screen.say):
        return benchmark.run(directory, resume=resume, on_progress=screen)


def _print(result: Result, requests_per_minute: float | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result_object(result, requests_per_minute), indent=2, allow_nan=False))
    else:
        show_result(result, requests_per_minute)


def tell_standing(directory: Path) -> bool:
    """Tell, loudly, what was created and is not deleted; whether there is anything."""
    lines = standing(directory)
    for line in lines:
        say(line)
    if lines:
        say(f"a second process goes on deleting where it can (see watchdog.log there); so does: fmbench cleanup {directory}")
    for line in kept(directory):
        say(line)
    return bool(lines)


def default_directory(name: str) -> Path:
    """A folder that is not there yet."""
    now = datetime.now().astimezone()
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{now:%Y%m%d-%H%M%S}"
    number = 1
    while (directory := Path("runs") / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return directory
