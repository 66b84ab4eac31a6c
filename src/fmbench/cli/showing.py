"""What came out of a run, on standard output: a table, the advice, and what to know before believing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fmbench import Check, Experiment, Result

__all__ = ["result_object", "show_result"]

UNKNOWN = "–"  # noqa: RUF001 - a dash is meant
MARKS = {"pass": "✓", "warn": "!", "fail": "✗"}


def show_result(result: Result, requests_per_minute: float | None) -> None:
    """Print it for a person."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    console.print(_table(result))
    if result.slo is not None:
        console.print(str(result.advise(requests_per_minute=requests_per_minute)), markup=False, soft_wrap=True)
        console.print()
    _show_validity(result, console)
    for problem in result.problems:
        console.print(f"✗ {problem['where']}: {problem['message']}", markup=False)
    page = result.directory / "report.html"
    console.print(
        f"\n{'The report: ' + str(page) if page.exists() else 'Everything is in ' + str(result.directory)}", markup=False
    )


def result_object(result: Result, requests_per_minute: float | None) -> dict[str, Any]:
    """The same for a machine."""
    from fmbench.result import summary_rows  # noqa: PLC0415 - only when there is a result

    return {
        "directory": str(result.directory),
        "name": result.name,
        "state": result.state,
        "verdict": result.verdict,
        "experiments": summary_rows(result.experiments),
        "advice": None if result.slo is None else result.advise(requests_per_minute=requests_per_minute).as_dict(),
        "validity": [check.as_dict() for check in result.validity],
        "problems": [dict(problem) for problem in result.problems],
    }


def _table(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=result.name, title_justify="left")
    table.add_column("experiment", overflow="fold")
    for heading in ("ok", "failed", "req/s", "tok/s", "latency p50", "p95", "TTFT p50", "p95"):
        table.add_column(heading, justify="right", no_wrap=True)
    for experiment in result.experiments:
        table.add_row(*_row(experiment))
    table.caption = f"latency and TTFT in milliseconds; {UNKNOWN} is not known (too few requests, or not streamed)"
    table.caption_justify = "left"
    return table


def _row(experiment: Experiment) -> Iterable[str]:
    counts = experiment.counts
    failed = counts["error"] + counts["timeout"] + counts["cancelled"] + counts["not_sent"]
    yield from (experiment.name, str(counts["ok"]), str(failed))
    yield from (_number(experiment.tps, 1), _number(experiment.output_throughput, 1))
    for metric in (experiment.latency, experiment.ttft):
        yield from (_number(metric.p50, 1000), _number(metric.p95, 1000))


def _number(value: float | None, factor: float) -> str:
    return UNKNOWN if value is None else f"{value * factor:.4g}"


def _show_validity(result: Result, console: Console) -> None:
    """One line for each finding that is not good, however many experiments share it."""
    console.print(f"Validity: {result.verdict}", markup=False)
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in result.validity:
        if check.verdict != "pass":
            groups.setdefault((check.verdict, check.name), []).append(check)
    for (verdict, name), checks in sorted(groups.items()):
        worst = max(checks, key=lambda check: abs(check.figure or 0))
        where = f" ({len(checks)} experiments; the largest: {worst.experiment})" if len(checks) > 1 else ""
        console.print(f"{MARKS[verdict]} {name}: {worst.finding}{where}", markup=False, soft_wrap=True)
        console.print(f"  {worst.remedy}", markup=False, soft_wrap=True, style="dim")
