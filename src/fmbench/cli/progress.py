"""Progress on standard error: live on a terminal, a few plain lines elsewhere.

The measuring thread only puts its news into a queue. They are drawn in a thread of their own, seldom and as plain text: each
drawing takes a third of a millisecond from the thread that measures, where a table of bars takes five.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread

from rich.console import Console
from rich.live import Live

from fmbench import Progress as News
from fmbench.cli.board import Board

__all__ = ["Screen", "shown_progress"]

DRAW_SECONDS = 0.25
LAST_WORDS_SECONDS = 5.0
"""How long a terminal that has stopped taking text may hold up the end."""


class Screen:
    """Where a run's news go: it is what ``on_progress`` takes; it may be called from any thread, and returns at once."""

    def __init__(self, planned: Iterable[str]) -> None:
        self._live = sys.stderr.isatty()
        self._board = Board(planned, starts=not self._live)
        self._begun = time.monotonic()
        self._news: SimpleQueue[News | str | None] = SimpleQueue()
        self._thread = Thread(target=self._show, name="fmbench-progress", daemon=True)

    def __call__(self, news: News) -> None:
        """Show how a run goes."""
        self._news.put(news)

    def say(self, text: str) -> None:
        """Show a line of our own; a signal handler may call it."""
        self._news.put(text)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._news.put(None)
        self._thread.join(LAST_WORDS_SECONDS)

    def _show(self) -> None:
        # A terminal that is gone, or a pipe that nobody reads any more, is no reason to end a run: it goes on untold.
        with suppress(OSError, ValueError):
            if self._live:
                self._show_live()
            else:
                for line in self._lines(timeout=None):
                    if line is not None:
                        sys.stderr.write(f"{line}\n")
                        sys.stderr.flush()

    def _show_live(self) -> None:
        console = Console(stderr=True, highlight=False)
        ascii_only = console.options.ascii_only
        with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False) as live:
            drawn = 0.0
            for line in self._lines(timeout=DRAW_SECONDS):
                now = time.monotonic()
                if line is not None:
                    console.print(line, markup=False)
                if line is not None or now - drawn >= DRAW_SECONDS:
                    live.update(self._board.rows(now - self._begun, console.width, ascii_only=ascii_only), refresh=True)
                    drawn = now

    def _lines(self, timeout: float | None) -> Iterator[str | None]:
        """Each line to keep, and ``None`` after other news and where there were none for a while."""
        while True:
            try:
                news = self._news.get(timeout=timeout)
            except Empty:
                yield None
                continue
            if news is None:
                return
            at = time.monotonic() - self._begun
            line = news if isinstance(news, str) else self._board.hear(news, at)
            yield None if line is None else f"[{at:6.1f} s] {line}"


@contextmanager
def shown_progress(planned: Iterable[str] = ()) -> Iterator[Screen]:
    """A screen for one run; nothing goes to standard output.

    Args:
        planned: The deployment of each experiment that is planned; empty where that is not known.
    """
    screen = Screen(planned)
    screen.open()
    try:
        yield screen
    finally:
        screen.close()
