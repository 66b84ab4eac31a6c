"""What a comparison found: each difference with its interval and verdict, and the same in a sentence, a table and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

__all__ = ["Comparison", "Difference", "Finding"]

Finding = Literal["worse", "better", "no evidence", "not compared"]

_UNITS = {"tps": "1/s", "output_throughput": "tokens/s", "error_rate": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One metric of one experiment, on both sides.

    Args:
        experiment: Its name; both names where they differ.
        metric: ``latency_p95``, ``tps``, ``error_rate`` …
        baseline: Its value before, in seconds for times; with several runs, their geometric mean (a share's mean).
        candidate: Its value now.
        change: Candidate / baseline - 1; of ``error_rate``, candidate - baseline. ``None`` where it is not known.
        low: The lower bound of the change, taken alone.
        high: The upper bound.
        p: The probability of so much by chance, were there no change beyond the margin; two-sided, taken alone.
        adjusted_p: The same among all that were compared, by Holm's method.
        verdict: ``worse`` or ``better`` (by more than the margin), ``no evidence``, or ``not compared``.
        reason: Why it was not compared.
        superiority: The probability that a request of the candidate takes longer than one of the baseline (0.5: neither).
        block_length: How many consecutive requests a drawn block held; ``None`` where runs were compared.
        blocks: How many such blocks the requests make; with few, intervals are a little too narrow.
        runs: How many runs there were of each side.
    """

    experiment: str
    metric: str
    baseline: float | None
    candidate: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    verdict: Finding = "not compared"
    reason: str | None = None
    superiority: float | None = None
    block_length: float | None = None
    blocks: float | None = None
    runs: tuple[int, int] = (1, 1)

    @property
    def unit(self) -> str:
        """The unit of the two values."""
        return _UNITS.get(self.metric, "s")

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"unit": self.unit}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two measurements of the same workloads, compared.

    Args:
        baseline: The folders of the runs that are compared with.
        candidate: The folders of the runs that are compared.
        differences: One an experiment and metric, experiments in the baseline's order.
        margin: By how much a relative change has to be shown to exceed nothing before it counts; 0.05 is 5 %.
        confidence: With which probability none of the verdicts ``worse`` and ``better`` is a false one.
        unequal: In what the workloads differ, where they were compared all the same.
        remarks: What to know before believing it.
        method: How intervals and probabilities were made.
    """

    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    differences: tuple[Difference, ...]
    margin: float
    confidence: float
    unequal: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    method: str = ""

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """What was shown to be worse by more than the margin, the worst first."""
        return self._found("worse")

    @property
    def improvements(self) -> tuple[Difference, ...]:
        """What was shown to be better by more than the margin, the best first."""
        return self._found("better")

    @property
    def verdict(self) -> Finding:
        """``worse`` where anything is, else ``better`` where anything is, else ``no evidence``, else ``not compared``."""
        found = {difference.verdict for difference in self.differences}
        order: tuple[Finding, ...] = ("worse", "better", "no evidence")
        for verdict in order:
            if verdict in found:
                return verdict
        return "not compared"

    @property
    def missing(self) -> tuple[Difference, ...]:
        """What the baseline has and the candidate has not: a gate must not be passed for want of a measurement."""
        return tuple(one for one in self.differences if one.baseline is not None and one.candidate is None)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with the greatest change that was shown."""
        beyond = f" by more than {self.margin * 100:.3g}%" if self.margin else ""
        compared = sum(one.verdict != "not compared" for one in self.differences)
        opening = f"{'Unequal workloads were compared. ' if self.unequal else ''}"
        if not compared:
            return f"{opening}Nothing could be compared: {self.differences[0].reason if self.differences else 'no experiment'}."
        parts = []
        for found, word in ((self.regressions, "worse"), (self.improvements, "better")):
            for first in found[:1]:
                more = f", and {len(found) - 1} more" if len(found) > 1 else ""
                parts.append(f"{word}{beyond}: {_told(first)}{more}")
        if not parts:
            return f"{opening}No evidence of a change{beyond} in {compared} comparisons."
        sentence = "; ".join(parts)
        return f"{opening}{sentence[0].upper()}{sentence[1:]} ({compared} comparisons)."

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "baseline": list(self.baseline),
            "candidate": list(self.candidate),
            "margin": self.margin,
            "confidence": self.confidence,
            "unequal": list(self.unequal),
            "remarks": list(self.remarks),
            "method": self.method,
            "differences": [one.as_dict() for one in self.differences],
        }

    def table(self) -> list[Sequence[str]]:
        """The header, and a row an experiment and metric."""
        header = ("experiment", "metric", "baseline", "candidate", "change", f"{self.confidence:.0%} interval", "verdict")
        return [header, *(_row(one) for one in self.differences)]

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        notes = [*(f"! {told}" for told in self.unequal), *(f"- {told}" for told in self.remarks), self.method]
        return "\n".join([self.sentence, "", lines[0], rule, *lines[1:], "", *notes])

    def _repr_html_(self) -> str:
        header, *rows = self.table()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        notes = "".join(f"<li>{escape(told)}</li>" for told in (*self.unequal, *self.remarks, self.method))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{escape(self.sentence)}</p>{table}<ul>{notes}</ul>"

    def _found(self, verdict: Finding) -> tuple[Difference, ...]:
        found = (one for one in self.differences if one.verdict == verdict)
        return tuple(sorted(found, key=lambda one: -abs(one.change or 0.0)))


def _told(one: Difference) -> str:
    return f"{one.metric.replace('_', ' ')} of {one.experiment}, {_change(one.metric, one.change)} ({_interval(one)})"


def _change(metric: str, change: float | None) -> str:
    if change is None:
        return "-"
    return f"{change * 100:+.2g} pts" if metric == "error_rate" else f"{change:+.1%}"


def _interval(one: Difference) -> str:
    if one.low is None or one.high is None:
        return "-"
    if one.metric == "error_rate":
        return f"{one.low * 100:+.2g} to {one.high * 100:+.2g} pts"
    return f"{one.low:+.1%} to {one.high:+.1%}"


def _row(one: Difference) -> Sequence[str]:
    verdict = one.verdict if one.reason is None else f"{one.verdict} ({one.reason})"
    values = (_value(one.baseline), _value(one.candidate))
    metric = one.metric.replace("_", " ") + ("" if one.metric == "error_rate" else f" ({one.unit})")
    return one.experiment, metric, *values, _change(one.metric, one.change), _interval(one), verdict


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def facts_that_differ(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """The plain facts of two endpoints that differ, in words: what a comparison may be about."""
    plain = (str, int, float, bool)
    names = [name for name in dict.fromkeys([*one, *two]) if isinstance(one.get(name, two.get(name)), plain)]
    return [
        f"{name} {one.get(name, 'not known')} → {two.get(name, 'not known')}"
        for name in names
        if one.get(name) != two.get(name)
    ]
