"""What came out of a run, on standard output: a table, the advice, and what to know before believing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fmbench import Advice, Check, Comparison, Experiment, Result
from fmbench.reporters.wording import figures
from fmbench.result import summary_rows

__all__ = ["result_object", "show_advice", "show_comparison", "show_result"]

UNKNOWN = "-"
WIDTH = 80
MARKS = {"pass": "✓", "warn": "!", "fail": "✗"}
STANDINGS = {"met": "yes", "missed": "no", "unknown": UNKNOWN, "unmeasured": UNKNOWN}


def show_result(result: Result, requests_per_minute: float | None) -> None:
    """Print it for a person."""
    console = _console()
    console.print(_summary(result))
    if result.slo is not None:
        show_advice(result.advise(requests_per_minute=requests_per_minute))
    _show_validity(result, console)
    for problem in result.problems:
        _say(console, f"{MARKS['fail']} {problem['where']}: {problem['message']}")
    console.print()
    if result.cost.usd is not None:
        _say(console, f"The run cost {figures(result.cost.usd)} USD.")
    page = result.directory / "report.html"
    _say(console, f"The report: {page}" if page.exists() else f"Everything is in {result.directory}")


def show_advice(advice: Advice) -> None:
    """Print the answer, and the candidates below it."""
    console = _console()
    _say(console, advice.sentence)
    if advice.candidates:
        console.print(_candidates(advice))
    for told in advice.remarks:
        _say(console, f"- {told}", style="dim")


def show_comparison(comparison: Comparison) -> None:
    """Print what changed, a table an experiment, and what to know before believing it."""
    console = _console()
    _say(console, comparison.sentence)
    by_experiment: dict[str, list[Sequence[str]]] = {}
    header, *rows = comparison.table()
    for experiment, *cells in rows:
        by_experiment.setdefault(experiment, []).append(cells)
    for experiment, mine in by_experiment.items():
        console.print()
        console.print(_table(header[1:], mine, title=Text(experiment), title_justify="left"))
    console.print()
    for told in comparison.unequal:
        _say(console, f"{MARKS['fail']} {told}")
    for told in comparison.remarks:
        _say(console, f"{MARKS['warn']} {told}")
    _say(console, comparison.method, style="dim")


def result_object(result: Result, requests_per_minute: float | None) -> dict[str, Any]:
    """The same for a machine."""
    cost = result.cost
    return {
        "directory": str(result.directory),
        "name": result.name,
        "state": result.state,
        "verdict": result.verdict,
        "experiments": summary_rows(result.experiments),
        "advice": None if result.slo is None else result.advise(requests_per_minute=requests_per_minute).as_dict(),
        "cost": {"usd": cost.usd, "usd_without_startup": cost.usd_without_startup, "reason": cost.reason},
        "validity": [check.as_dict() for check in result.validity],
        "problems": [dict(problem) for problem in result.problems],
    }


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _say(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """A paragraph: wrapped for a terminal, one line for a file or a pipe, where it can be searched."""
    if console.is_terminal:
        console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent + text), soft_wrap=True)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], **options: Any) -> Table:
    """A table of names, which give way where it is narrow, and of numbers, which do not."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, **options)
    table.add_column(Text(headings[0]), overflow="fold")
    for heading in headings[1:]:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _summary(result: Result) -> Table:
    headings = ["experiment", "ok", "failed", "req/s", "tok/s", "latency\np50", "\np95", "TTFT\np50", "\np95"]
    rows = [_experiment(one) for one in result.experiments]
    if all(row[2] == "0" for row in rows):
        headings, rows = _without(headings, 2), [_without(row, 2) for row in rows]
    caption = f"times in milliseconds; {UNKNOWN}: not known (too few requests, or none)\n"
    title = Text(f"{result.name} (simulated)" if result.simulated else result.name)
    return _table(headings, rows, title=title, title_justify="left", caption=Text(caption), caption_justify="left")


def _without(row: Sequence[str], place: int) -> list[str]:
    return [*row[:place], *row[place + 1 :]]


def _experiment(experiment: Experiment) -> Sequence[str]:
    counts = experiment.counts
    failed = sum(counts[status] for status in ("error", "timeout", "cancelled", "not_sent"))
    times = [time for metric in (experiment.latency, experiment.ttft) for time in (metric.p50, metric.p95)]
    return [
        experiment.name,
        str(counts["ok"]),
        str(failed),
        _number(experiment.tps),
        _number(experiment.output_throughput),
        *(_number(None if time is None else time * 1000) for time in times),
    ]


def _candidates(advice: Advice) -> Table:
    """A row for each; what nobody knows, such as prices never given, has no column."""
    limits = list(advice.slo.as_dict())
    headings = [
        "candidate",
        "SLO\nmet",
        *map(_heading, advice.slo.labels().values()),
        "req/min\neach",
        "instances",
        "USD/h",
        "USD/1000\nrequests",
    ]
    several = len({one.prompts for one in advice.candidates}) > 1
    rows = []
    for one in advice.candidates:
        name = ", ".join(filter(None, (one.deployment, one.prompts if several else None, one.load)))
        found = {judged.name: judged.value for judged in one.judged}
        numbers = [*map(found.get, limits), one.requests_per_minute, one.instances, one.usd_per_hour, one.usd_per_1000_requests]
        rows.append([name, STANDINGS[one.standing], *map(_number, numbers)])
    kept = [place for place in range(len(headings)) if place < 2 or any(row[place] != UNKNOWN for row in rows)]
    shown = [[row[place] for place in kept] for row in (headings, *rows)]
    return _table(shown[0], shown[1:])


def _heading(label: str) -> str:
    """``latency`` over ``p95 (s)``, in narrow lines."""
    return label.replace(" ", "\n", 1)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else figures(value)


def _show_validity(result: Result, console: Console) -> None:
    """One line for each finding that is not good, however many experiments share it."""
    console.print(f"\nValidity: {result.verdict}", markup=False)
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in result.validity:
        if check.verdict != "pass":
            groups.setdefault((check.verdict, check.name), []).append(check)
    for (verdict, name), checks in sorted(groups.items()):
        worst = max(checks, key=_beyond)
        count = f"{len(checks)} experiments, such as " if len(checks) > 1 else ""
        where = "" if worst.experiment is None else f" ({count}{worst.experiment})"
        _say(console, f"{MARKS[verdict]} {name}: {worst.finding}{where}")
        _say(console, worst.remedy, indent=2, style="dim")


def _beyond(check: Check) -> float:
    """How far a figure lies from its limit, as a share of it."""
    if check.figure is None or check.limit is None:
        return 0.0
    return abs(check.figure - check.limit) / (abs(check.limit) or 1.0)
