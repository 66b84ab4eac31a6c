"""Markdown: the report in a form that reads well in a terminal, a pull request or a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.reporters.answer import Answer, Trust, answer_of, prices_changed, trust_in, unknown_cost
from fmbench.reporters.rates import read_as, slo_of
from fmbench.reporters.summary import Table, summary_table
from fmbench.reporters.wording import DASH, bare, duration, usd

if TYPE_CHECKING:
    from fmbench import Result

__all__ = ["Markdown"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


@checked
@dataclass(frozen=True)
class Markdown:
    """Writes ``report.md``: validity, the answer, how far to trust it, the summary, the cost, what failed."""

    def report(self, result: Result, directory: Path) -> list[Path]:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "report.md"
        path.write_text("\n".join(_lines(result)).rstrip() + "\n", encoding="utf-8", newline="\n")
        return [path]


def _plain(text: object) -> str:
    """A text from outside, on one line and without meaning to Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def _lines(result: Result) -> Iterator[str]:
    yield from (f"# {_plain(result.name)}{' (simulated)' if result.simulated else ''}", "")
    yield from (f"Measured {_plain(result.started_at)}; the run is {_plain(result.state)}.", "")
    answer, trust = answer_of(result), trust_in(result)
    if trust.verdict:
        yield from (f"Validity: **{trust.verdict}**. {trust.sentence}", "")
    yield from (f"**{_plain(answer.sentence)}**", "")
    yield from _table(answer.evidence)
    if answer.remark:
        yield from (_plain(answer.remark), "")
    if prices := prices_changed(result):
        yield from (_plain(prices), "")
    yield from _evidence(answer, result)
    yield from _trust(trust)
    yield from ("## Summary", "")
    yield from _table(summary_table(result)) if result.experiments else ("The run has no experiment.", "")
    yield from _cost(result)
    yield from _deployments(result)
    yield from _errors(result)


def _evidence(answer: Answer, result: Result) -> Iterator[str]:
    if answer.rates is not None:
        yield from ("## Instances for a rate", "", "How many instances serve so many requests a minute within the SLO.", "")
        yield from _table(answer.rates)
    if answer.remarks:
        yield from (
            "## What was not measured, and what is taken for granted",
            "",
            *(f"- {_plain(told)}" for told in answer.remarks),
            "",
        )
    points = result.advise(slo_of(result)).points if result.experiments else ()
    if points:
        yield from (
            "## Latency, throughput and cost",
            "",
            "An asterisk marks the Pareto front: nothing that was measured beats it in all three.",
            "",
        )
        yield from _rows(
            ("Deployment", "Prompts", "Load", read_as(points[0].latency), "Requests/min", "Cost of 1,000 requests", "Front"),
            (False, False, False, True, True, True, False),
            (
                (
                    one.deployment, one.prompts, one.load, duration(one.latency_seconds), bare(one.requests_per_minute),
                    DASH if one.usd_per_1000_requests is None else usd(one.usd_per_1000_requests), "*" if one.on_front else "",
                )
                for one in points
            ),
        )  # fmt: skip


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        return
    yield from _rows([column.heading for column in table.columns], [column.numeric for column in table.columns], (
        [cell.text + (f" ({cell.mark})" if cell.mark else "") for cell in row] for row in table.rows
    ))  # fmt: skip
    for letter, note in table.notes:
        yield f"({letter}) {_plain(note)}  "
    if table.notes:
        yield ""


def _rows(heads: Sequence[str], numeric: Sequence[bool], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield _row(heads)
    yield "|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|"
    yield from map(_row, rows)
    yield ""


def _row(fields: Iterable[object]) -> str:
    return "| " + " | ".join(map(_plain, fields)) + " |"


def _trust(trust: Trust) -> Iterator[str]:
    yield from ("## How far to trust it", "", (f"**{trust.verdict}**: " if trust.verdict else "") + trust.sentence, "")
    if trust.doubts:
        rows = (
            (
                doubt.worst.verdict,
                doubt.worst.name,
                doubt.where,
                doubt.worst.finding,
                _number(doubt.worst.figure),
                _number(doubt.worst.limit),
                doubt.worst.remedy,
            )
            for doubt in trust.doubts
        )
        heads = ("Verdict", "Check", "Where", "Finding", "Figure", "Limit", "Remedy")
        yield from _rows(heads, (False, False, False, False, True, True, False), rows)
    if trust.passed:
        yield from ("Passed everywhere: " + ", ".join(_plain(check.name) for check in trust.passed) + ".", "")


def _number(value: float | None) -> str:
    return DASH if value is None else bare(value)


def _cost(result: Result) -> Iterator[str]:
    cost = result.cost
    yield from ("## What the run cost", "")
    if cost.usd is None:
        yield from (f"Not known: {_plain(unknown_cost(result))}.", "")
        return
    yield from (f"{usd(cost.usd)} in all, {usd(cost.usd_without_startup or 0)} without start-up.", "")


def _deployments(result: Result) -> Iterator[str]:
    yield from ("## Deployments", "")
    if not result.deployments:
        yield from ("There was none.", "")
        return
    rows = (
        (
            one.name,
            one.status,
            one.model or DASH,
            one.facts.get("instance_type") or DASH,
            DASH if one.startup_seconds is None else duration(one.startup_seconds),
            "" if one.error is None else f"{one.error.get('kind')}: {one.error.get('message')}",
        )
        for one in result.deployments
    )
    heads = ("Deployment", "Status", "Model", "Instance type", "Start-up", "Error")
    yield from _rows(heads, (False, False, False, False, True, False), rows)


def _errors(result: Result) -> Iterator[str]:
    failures = [(one.name, kind, seen.count, seen.message) for one in result.experiments for kind, seen in one.errors.items()]
    if failures:
        yield from ("## Errors", "")
        yield from _rows(("Experiment", "Kind", "Requests", "What the first one said"), (False, False, True, False), failures)
    if result.problems:
        yield from ("## Problems", "")
        rows = ([problem.get(key, "") for key in ("where", "kind", "message")] for problem in result.problems)
        yield from _rows(("Where", "Kind", "Message"), (False, False, False), rows)
