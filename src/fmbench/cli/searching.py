"""A capacity search for the terminal: its progress, its answer, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fmbench import SLO, Benchmark, Capacity
from fmbench.cli.ending import DONE, INVALID, STANDING, drop_stdout
from fmbench.cli.progress import shown_progress
from fmbench.cli.running import default_directory, guarded, tell_standing
from fmbench.cli.signals import interruptible

__all__ = ["search_capacity"]


def search_capacity(benchmark: Benchmark, slo: SLO | None, out: Path | None, *, as_json: bool, **how: Any) -> int:
    """Search and print the answer; the exit status: 0 where every combination keeps to the SLO at some load, else 1.

    Args:
        benchmark: What to search on.
        slo: What has to hold; the benchmark's own by default.
        out: The run's folder; ``None`` takes one by name and time.
        as_json: Whether to print one JSON object.
        **how: As ``Benchmark.find_capacity`` takes it.
    """
    directory = default_directory(benchmark.name) if out is None else out
    capacity = guarded(lambda: _search(benchmark, slo, directory, how), directory, resumable=True)
    if isinstance(capacity, int):
        return capacity
    left = tell_standing(directory)  # before the rest, which may have no reader
    try:
        click.echo(json.dumps(capacity.as_dict(), indent=2, allow_nan=False) if as_json else str(capacity))
    except BrokenPipeError:
        drop_stdout()
    return STANDING if left else DONE if capacity.met else INVALID


def _search(benchmark: Benchmark, slo: SLO | None, directory: Path, how: dict[str, Any]) -> Capacity:
    planned = [row.deployment for row in benchmark.plan().rows]
    with shown_progress(planned) as screen, interruptible(screen.say):
        return benchmark.find_capacity(slo, directory=directory, on_progress=screen, **how)
