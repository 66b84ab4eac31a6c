"""How a result looks in a notebook: tables, and no library beyond the standard one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from fmbench.result.experiment import Experiment

if TYPE_CHECKING:
    from fmbench.result.result import Result

__all__ = ["result_html"]

_HEADS = (
    "experiment", "load", "status", "requests", "failed", "tps", "tokens/s",
    "latency p50 (s)", "latency p95 (s)", "TTFT p50 (s)", "ITL p50 (s)", "USD/1000 requests", "verdict",
)  # fmt: skip


def result_html(result: Result) -> str:
    """The run, its verdict with reasons, its experiments, its advice where it has an SLO, and its problems."""
    parts = [_opening(result), _table(_HEADS, map(_row, result.experiments))]
    if result.slo is not None and result.experiments:
        parts.append(result.advise()._repr_html_())
    doubts = [check for check in result.validity if check.verdict != "pass"]
    if doubts:
        found = ((str(check.verdict), check.experiment or "the run", check.finding, check.remedy) for check in doubts)
        parts.append(_table(("verdict", "experiment", "finding", "remedy"), found))
    if result.problems:
        told = (tuple(str(problem.get(key)) for key in ("where", "kind", "message")) for problem in result.problems)
        parts.append(_table(("problem in", "kind", "message"), told))
    return f"<div>{''.join(parts)}</div>"


def _opening(result: Result) -> str:
    told = "killed before its end, or still going on" if result.state == "running" else result.state
    simulated = ", simulated" if result.simulated else ""
    return (
        f"<p><b>{escape(result.name)}</b> of {escape(result.started_at)}: {escape(told)}{simulated}; "
        f"{len(result.experiments)} experiments; verdict <b>{result.verdict}</b></p>"
    )


def _row(one: Experiment) -> Sequence[str]:
    failed = one.counts["error"] + one.counts["timeout"]
    return (
        one.name, one.load, one.status if one.reason is None else f"{one.status}: {one.reason}",
        str(one.latency.requests), str(failed), _number(one.tps), _number(one.output_throughput),
        _number(one.latency.p50), _number(one.latency.p95), _number(one.ttft.p50), _number(one.itl.p50),
        _number(one.cost_per_1000_requests_usd), one.verdict,
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"  # noqa: RUF001 - a dash for what is not known


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
