"""What is going on in a run, out of its news, as lines of text. No clock and no terminal in here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from fmbench import Progress as News

__all__ = ["Board"]

BAR_CELLS = 24
LEAST_BAR_CELLS = 8
LEAST_NAME_CELLS = 12
_STATES = {"deploying": "starting", "deployed": "up", "deleting": "being taken down"}
_STYLES = {"starting": "yellow", "up": "green", "being taken down": "yellow"}


@dataclass
class _Deployment:
    state: str = "waiting"
    since: float = 0.0
    experiments: int = 0
    measured: int = 0


@dataclass
class _Experiment:
    name: str
    since: float
    done: int = 0
    total: int | None = None
    errors: int = 0


@dataclass
class Board:
    """The state of a run.

    Args:
        planned: The deployment of each experiment that is planned; empty where that is not known.
        starts: Whether the start of something is worth a line, as it is where ``rows`` are not shown.
    """

    planned: Iterable[str] = ()
    starts: bool = True
    _deployments: dict[str, _Deployment] = field(default_factory=dict)
    _running: _Experiment | None = None
    _step: str | None = None
    _measured: int = 0

    def __post_init__(self) -> None:
        for name in self.planned:
            self._deployments.setdefault(name, _Deployment()).experiments += 1

    def hear(self, news: News, at: float) -> str | None:
        """Take a piece of news.

        Args:
            news: What happened.
            at: Seconds since the beginning.

        Returns:
            The line that is worth keeping.
        """
        if news.event in {"prompts", "reporting", "reported"}:
            self._step = {"prompts": "drawing prompts", "reporting": f"writing {news.message}"}.get(news.event)
            return None
        self._step = None
        if news.experiment is not None:
            return self._hear_of_experiment(news, at)
        return self._hear_of_deployment(news, at)

    def rows(self, at: float, width: int, *, ascii_only: bool = False) -> Text:
        """What is going on now, for so many columns: a line a deployment, the running experiment, and a summary."""
        lines = [self._deployment_row(name, one, at) for name, one in self._deployments.items() if one.state in _STYLES]
        if self._running is not None:
            lines.append(self._experiment_row(self._running, at, width, ascii_only=ascii_only))
        if self._step is not None:
            lines.append(Text(self._step))
        lines.append(self._summary(at))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(lines)

    def _hear_of_deployment(self, news: News, at: float) -> str | None:
        name = news.deployment or "?"
        one = self._deployments.setdefault(name, _Deployment())
        if news.event == "deploy_failed":
            one.state = "failed"
            return f"{name} failed: {news.message}"
        if news.event == "deleted":
            if one.state == "failed":
                return None  # it has been told, and was never there
            one.state = "gone"
            return f"{name} is gone"
        one.state, one.since = _STATES[news.event], at
        told = news.event == "deployed" or (news.event == "deploying" and self.starts)
        where = f" ({news.message})" if news.event == "deploying" and news.message else ""
        return f"{name} is {one.state}{where}" if told else None

    def _hear_of_experiment(self, news: News, at: float) -> str | None:
        name = news.experiment or "?"
        if self._running is None or self._running.name != name:
            self._running = _Experiment(name, at)
        running = self._running
        running.done, running.total, running.errors = news.done, news.total, news.errors
        if news.event == "measured":
            self._running = None
            self._measured += 1
            self._deployments.setdefault(news.deployment or "?", _Deployment()).measured += 1
            return f"{name}: {news.done} requests{_failed(news.errors)} in {at - running.since:.1f} s"
        return f"{name} begins" if news.event == "measuring" and self.starts else None

    def _deployment_row(self, name: str, one: _Deployment, at: float) -> Text:
        names = max(LEAST_NAME_CELLS, *map(len, self._deployments))
        row = Text(f"{name:<{names}}  ").append(f"{one.state:<16}", _STYLES[one.state])
        if one.experiments and one.state == "up":
            row.append(f"  {one.measured} of {one.experiments} measured")
        return row.append(f"  {_clock(at - one.since)}", "dim")

    @staticmethod
    def _experiment_row(one: _Experiment, at: float, width: int, *, ascii_only: bool) -> Text:
        counts = f"{one.done}" if one.total is None else f"{one.done}/{one.total}"
        tail = Text(f" {counts}").append(_failed(one.errors), "bold red").append(f"  {_clock(at - one.since)}", "dim")
        # A name ends in what tells it from others, so the bar gives way first.
        cells = max(LEAST_BAR_CELLS, min(BAR_CELLS, width - tail.cell_len - cell_len(one.name) - 1))
        bar = Text()
        if one.total:
            full = min(cells, cells * one.done // one.total)
            bar.append(" " + ("#" if ascii_only else "━") * full, "green").append(
                ("." if ascii_only else "─") * (cells - full), "dim"
            )
        name = Text(one.name, "bold")
        name.truncate(width - tail.cell_len - bar.cell_len, overflow="ellipsis")
        return name.append_text(bar).append_text(tail)

    def _summary(self, at: float) -> Text:
        experiments = sum(one.experiments for one in self._deployments.values())
        states = [one.state for one in self._deployments.values()]
        words = [
            f"{self._measured} of {experiments} experiments measured"
            if experiments
            else f"{self._measured} experiments measured"
        ]
        words += [f"{states.count(state)} {state}" for state in ("waiting", "gone", "failed") if state in states]
        return Text(f"{', '.join(words)}  ", "dim").append(_clock(at))


def _failed(errors: int) -> str:
    return f", {errors} failed" if errors else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
