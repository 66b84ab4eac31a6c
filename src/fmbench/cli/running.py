"""Running a benchmark for the terminal: where it goes, signals, progress, what came out, and the exit status."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from fmbench import Benchmark, Result
from fmbench.cli.progress import shown_progress
from fmbench.cli.showing import result_object, show_result
from fmbench.journal import Journal

__all__ = ["exit_status", "run_benchmark"]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
INVALID = 1
STANDING = 3


def run_benchmark(
    benchmark: Benchmark, out: Path | None, *, as_json: bool, resume: bool = False, requests_per_minute: float | None = None
) -> int:
    """Run it and print what came out; the exit status."""
    directory = _default_directory(benchmark.name) if out is None else out
    with _signals(), shown_progress() as on_progress:
        result = benchmark.run(directory, resume=resume, on_progress=on_progress)
    if as_json:
        click.echo(json.dumps(result_object(result, requests_per_minute), indent=2))
    else:
        show_result(result, requests_per_minute)
    return _standing(directory) or exit_status(result)


def exit_status(result: Result) -> int:
    """0 where the result is whole and valid and something meets the SLO, else 1."""
    failed = any(deployment.status == "failed" for deployment in result.deployments)
    limited = any(problem["kind"] == "limit" for problem in result.problems)
    missed = result.slo is not None and result.advise().best is None
    return INVALID if failed or limited or missed or result.verdict == "fail" else 0


def _standing(directory: Path) -> int:
    """Tell, loudly, what was created and is not deleted."""
    standing = Journal(directory).standing()
    for entry in standing:
        rate = entry.get("usd_per_hour")
        price = "at a price that is not known" if rate is None else f"at {rate:g} USD an hour"
        click.echo(f"fmbench: STILL THERE, {price}: {json.dumps(entry['handle'])}", err=True)
    return STANDING if standing else 0


def _default_directory(name: str) -> Path:
    now = datetime.now().astimezone()
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{now:%Y%m%d-%H%M%S}"


@contextmanager
def _signals() -> Iterator[None]:
    """Have what would end the process end the run instead, so that everything is taken down.

    Only the command line does this; the library leaves the caller's handlers alone.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    for name in SIGNALS:
        if hasattr(signal, name):
            before[getattr(signal, name)] = signal.signal(getattr(signal, name), interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.stderr.flush()
