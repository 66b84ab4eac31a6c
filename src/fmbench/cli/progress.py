"""Progress on standard error: live on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from fmbench import Progress as News

__all__ = ["shown_progress"]

_DEPLOYMENT_STATES = {
    "deploying": "starting",
    "deployed": "up",
    "deploy_failed": "failed",
    "deleting": "being taken down",
    "deleted": "gone",
}


@contextmanager
def shown_progress() -> Iterator[Callable[[News], None]]:
    """A function to hand a run's news to; nothing goes to standard output."""
    if not sys.stderr.isatty():
        yield _Plain().tell
        return
    console = Console(stderr=True, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        yield _Live(bars).tell


def _line(news: News, seconds: float) -> str | None:
    """What is worth a line of its own."""
    at = f"[{seconds:6.1f} s]"
    if news.event == "measured":
        failed = f", {news.errors} failed" if news.errors else ""
        return f"{at} {news.experiment}: {news.done} requests{failed}"
    if news.event == "deploy_failed":
        return f"{at} {news.deployment} failed: {news.message}"
    if news.event in {"deployed", "deleted"}:
        return f"{at} {news.deployment} is {_DEPLOYMENT_STATES[news.event]}"
    return None


class _Plain:
    """For files and pipes: the start and the end of things."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def tell(self, news: News) -> None:
        line = _line(news, time.monotonic() - self._begun)
        if line is not None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


class _Live:
    """For terminals: one line a deployment and one for the running experiment; what has ended scrolls away above."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._begun = time.monotonic()
        self._tasks: dict[str, TaskID] = {}

    def tell(self, news: News) -> None:
        if (line := _line(news, time.monotonic() - self._begun)) is not None:
            self._bars.console.print(line, markup=False)
        if news.event in _DEPLOYMENT_STATES and news.deployment is not None:
            self._deployment(news)
        elif news.event in {"measuring", "progress", "measured"} and news.experiment is not None:
            self._experiment(news)
        elif news.event in {"prompts", "reporting"}:
            self._step("drawing prompts" if news.event == "prompts" else f"writing {news.message}")

    def _deployment(self, news: News) -> None:
        key = f"deployment {news.deployment}"
        if news.event in {"deleted", "deploy_failed"}:
            self._drop(key)
            return
        text = f"{news.deployment}: {_DEPLOYMENT_STATES[news.event]}"
        self._drop("step")
        if key in self._tasks:
            self._bars.update(self._tasks[key], description=text)
        else:
            self._tasks[key] = self._bars.add_task(text, total=None, note="")

    def _experiment(self, news: News) -> None:
        key = f"experiment {news.experiment}"
        note = f"{news.errors} failed" if news.errors else ""
        if news.event == "measured":
            self._drop(key)
        elif key in self._tasks:
            self._bars.update(self._tasks[key], completed=news.done, total=news.total, note=note)
        else:
            self._tasks[key] = self._bars.add_task(f"  {news.experiment}", total=news.total, completed=news.done, note=note)

    def _step(self, text: str) -> None:
        self._drop("step")
        self._tasks["step"] = self._bars.add_task(text, total=None, note="")

    def _drop(self, key: str) -> None:
        if key in self._tasks:
            self._bars.remove_task(self._tasks.pop(key))
