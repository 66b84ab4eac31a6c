"""The summary as people read it: a row an experiment, one unit a column, and the reason for each figure that is missing."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fmbench.reporters.charts.view import View
from fmbench.reporters.wording import DASH, figures, in_milliseconds, percent, usd

if TYPE_CHECKING:
    from fmbench import SLO, Distribution, Experiment, Result

__all__ = ["Cell", "Column", "Table", "summary_table"]


class Cell(NamedTuple):
    """One field of a table."""

    text: str
    title: str = ""
    """What a pointer that rests on it is told."""
    note: str = ""
    """Why it is empty; becomes a footnote."""
    mark: str = ""
    """The footnote's letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Args:
        name: Its heading.
        group: What several neighbours have in common; their heading's upper line.
        meaning: What its heading is explained with.
        cells: Its fields, from top to bottom.
        numeric: Whether it is set flush right.
    """

    name: str
    group: str = ""
    meaning: str = ""
    cells: Sequence[Cell] = field(default=())
    numeric: bool = True

    @property
    def heading(self) -> str:
        """Both lines in one."""
        return f"{self.group} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Table:
    """A table and its footnotes: each a letter and a text."""

    columns: Sequence[Column]
    notes: Sequence[tuple[str, str]]

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """Its rows."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The headings' upper line: each text with the number of columns that it spans."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and column.group and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans


def summary_table(result: Result) -> Table:
    """The summary of a result."""
    experiments = result.experiments
    columns = [*_what(result), _verdicts(experiments), *_how_fast(experiments), *_how_much(experiments)]
    if result.slo is not None:
        columns.append(_within(experiments, result.slo))
    return _lettered(columns)


def _what(result: Result) -> list[Column]:
    """What was measured: whatever tells one experiment from another."""
    view, experiments = View(result), result.experiments
    columns = [Column(name="Deployment", cells=[Cell(one.deployment) for one in experiments], numeric=False)]
    if len(view.prompt_sets) > 1:
        columns.append(Column(name="Prompts", cells=[Cell(one.prompts) for one in experiments], numeric=False))
    if len(view.parameters) > 1:
        columns.append(Column(name="Parameters", cells=[Cell(view.parameters_of(one)) for one in experiments], numeric=False))
    return [*columns, Column(name="Load", cells=[_load(one) for one in experiments], numeric=False)]


def _load(one: Experiment) -> Cell:
    if one.status == "measured":
        return Cell(one.load)
    status = one.status.replace("_", " ")
    return Cell(f"{one.load} ({status})", note=f"{status}: {one.reason or 'the run ended before it was measured'}")


def _how_fast(experiments: Sequence[Experiment]) -> list[Column]:
    return [
        Column(
            name="Requests",
            meaning="successful requests that were due in the window: latencies stand on these",
            cells=[_count(one) for one in experiments],
        ),
        Column(name="Failed", meaning="the share that failed or timed out", cells=[_failed(one) for one in experiments]),
        *_percentiles("Latency", "latency", (0.5, 0.95, 0.99), experiments),
        *_percentiles("TTFT", "ttft", (0.5, 0.95), experiments),
        *_percentiles("ITL", "itl", (0.5, 0.95), experiments),
    ]


def _how_much(experiments: Sequence[Experiment]) -> list[Column]:
    rates = [
        _figure("Requests/s", "tps", "successful requests a second", experiments, figures),
        _figure("Tokens/s", "output_throughput", "completion tokens a second, all requests together", experiments, figures),
    ]
    prices = (
        ("1,000 requests", "cost_per_1000_requests_usd", "at the measured rate, start-up left out"),
        ("1 M output tokens", "usd_per_million_output_tokens", "at the measured rate, prompts included, start-up left out"),
    )
    priced = any(getattr(one, attribute) is not None for one in experiments for _, attribute, _ in prices)
    columns = [_figure(name, attribute, meaning, experiments, usd) for name, attribute, meaning in prices] if priced else []
    return [*rates, *(replace(column, group="Cost of") for column in columns)]


def _count(one: Experiment) -> Cell:
    if not one.latency.count:
        return Cell("0", note=one.latency.why_none() or "")
    others = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in one.counts.items() if count)
    return Cell(f"{one.latency.count:,}", title=f"all records, warm-up included: {others}")


def _failed(one: Experiment) -> Cell:
    rate = one.error_rate
    return Cell(DASH, note=one.reasons.get("error_rate", "")) if rate is None else Cell(percent(rate))


def _percentiles(group: str, metric: str, quantiles: Iterable[float], experiments: Sequence[Experiment]) -> list[Column]:
    """A metric's percentiles, all in one unit."""
    distributions: list[Distribution] = [getattr(one, metric) for one in experiments]
    known = [(each, q) for each in distributions for q in quantiles]
    small = in_milliseconds(each.quantile(q) for each, q in known)
    factor, unit = (1000, "ms") if small else (1, "s")
    return [
        Column(
            name=f"p{q * 100:g}",
            group=f"{group} ({unit})",
            meaning="the median" if q == 0.5 else f"{q:.0%} of the values are not above it",
            cells=[_quantile(each, q, factor, unit) for each in distributions],
        )
        for q in quantiles
    ]


def _quantile(values: Distribution, q: float, factor: float, unit: str) -> Cell:
    value = values.quantile(q)
    if value is None:
        reason = values.why_none(q) or ""
        # How many there are differs from row to row; what is missing does not.
        note = reason if not values.count else f"too few successful requests for a {q * 100:g}th percentile"
        return Cell(DASH, title=reason, note=note)
    interval = values.interval(q)
    bounds = "" if interval is None else f"; 95% confidence: {' to '.join(figures(each * factor) for each in interval)} {unit}"
    return Cell(figures(value * factor), title=f"{values.requests:,} requests{bounds}")


def _figure(
    name: str, attribute: str, meaning: str, experiments: Sequence[Experiment], spoken: Callable[[float], str]
) -> Column:
    def cell(one: Experiment) -> Cell:
        value: float | None = getattr(one, attribute)
        return Cell(DASH, note=one.reasons.get(attribute, "")) if value is None else Cell(spoken(value))

    return Column(name=name, meaning=meaning, cells=list(map(cell, experiments)))


def _within(experiments: Sequence[Experiment], slo: SLO) -> Column:
    def cell(one: Experiment) -> Cell:
        share = one.good_share(slo)
        return Cell(DASH, note="no request is there that could keep to the SLO") if share is None else Cell(percent(share))

    meaning = f"the share of sent requests that each keep to {slo}; failed ones do not"
    return Column(name="Within SLO", meaning=meaning, cells=list(map(cell, experiments)))


def _verdicts(experiments: Sequence[Experiment]) -> Column:
    def cell(one: Experiment) -> Cell:
        doubts = [f"{check.name}: {check.finding}" for check in one.validity if check.verdict != "pass"]
        return Cell(one.verdict, title="; ".join(doubts) or "every check passed")

    return Column(name="Validity", meaning="the worst of its checks", cells=list(map(cell, experiments)), numeric=False)


def _lettered(columns: Iterable[Column]) -> Table:
    """The table, each distinct note once, with its letter in every cell that it explains."""
    letters: dict[str, str] = {}
    lettered = [replace(column, cells=list(map(partial(_with_letter, letters), column.cells))) for column in columns]
    return Table(lettered, [(letter, note) for note, letter in letters.items()])


def _with_letter(letters: dict[str, str], cell: Cell) -> Cell:
    if not cell.note:
        return cell
    letter = letters.setdefault(cell.note, _letter(len(letters)))
    return cell._replace(mark=letter, title=cell.title or cell.note)


def _letter(index: int) -> str:
    """The letters a to z, then aa, ab and so on."""
    before = index // 26
    return (_letter(before - 1) if before else "") + string.ascii_lowercase[index % 26]
