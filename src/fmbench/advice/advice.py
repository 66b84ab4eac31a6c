"""The answer: its candidates, and the same in a sentence, a table and a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, overload

from fmbench.advice.choosing import Candidate, Judged, Measured, choose, points_of
from fmbench.advice.front import Point
from fmbench.advice.remarks import remarks_on
from fmbench.advice.slo import SLO
from fmbench.advice.table import AdviceTable
from fmbench.errors import ConfigError

__all__ = ["Advice", "advise"]


@dataclass(frozen=True, slots=True)
class Advice:
    """Which configuration is the cheapest that is fast enough, and how many of it are needed.

    Args:
        slo: What was asked for.
        requests_per_minute: At which rate; ``None`` where none was given.
        candidates: What was tried: prompt sets in their order, in each of them the best first.
        simulated: Whether the figures come from a simulator.
        points: Every experiment as a choice between latency, throughput and cost, and whether it is on the Pareto front.
    """

    slo: SLO
    requests_per_minute: float | None
    candidates: tuple[Candidate, ...]
    simulated: bool = False
    points: tuple[Point, ...] = ()

    @property
    def best(self) -> Candidate | None:
        """The cheapest that meets the SLO, on the first prompt set; ``None`` where none does."""
        return self.best_for(self.candidates[0].prompts) if self.candidates else None

    def best_for(self, prompts: str) -> Candidate | None:
        """The cheapest that meets the SLO on one prompt set; ``None`` where none does."""
        met = (one for one in self.candidates if one.prompts == prompts and one.standing == "met")
        return next(met, None)

    @property
    def sentence(self) -> str:
        """The answer in one sentence; one for each prompt set where there are several."""
        if not self.candidates:
            return "There is nothing to advise on: the run has no experiment."
        sets = list(dict.fromkeys(candidate.prompts for candidate in self.candidates))
        answers = [(f"{name}: " if len(sets) > 1 else "") + self._answer(name) for name in sets]
        return ("Simulated: " if self.simulated else "") + " ".join(answers)

    @property
    def front(self) -> tuple[Point, ...]:
        """What is beaten by nothing that was measured, in latency, throughput and cost together."""
        return tuple(point for point in self.points if point.on_front)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was not measured, and what the answer takes for granted."""
        return tuple(remarks_on(self.candidates))

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "slo": self.slo.as_dict(),
            "requests_per_minute": self.requests_per_minute,
            "sentence": self.sentence,
            "simulated": self.simulated,
            "candidates": [candidate.as_dict() for candidate in self.candidates],
            "remarks": list(self.remarks),
            "points": [point.as_dict() for point in self.points],
        }

    def __str__(self) -> str:
        header, *rows = self._table()
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)
        ]
        remarks = [f"- {told}" for told in self.remarks]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join([self.sentence, "", lines[0], rule, *lines[1:], *(["", *remarks] if remarks else [])])

    def _repr_html_(self) -> str:
        header, *rows = self._table()
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        remarks = "".join(f"<li>{escape(told)}</li>" for told in self.remarks)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{escape(self.sentence)}</p>{table}{f'<ul>{remarks}</ul>' if remarks else ''}"

    def _answer(self, prompts: str) -> str:
        best = self.best_for(prompts)
        if best is not None:
            alone = sum(one.prompts == prompts for one in self.candidates) == 1
            return _recommendation(best, self.slo, self.requests_per_minute, alone=alone)
        candidates = [candidate for candidate in self.candidates if candidate.prompts == prompts]
        if candidates[0].standing == "missed":
            return f"Nothing measured keeps to {self.slo}: the nearest, {_at(candidates[0])}, {_shortfall(candidates[0])}."
        if candidates[0].standing == "unknown":
            return f"Whether {_at(candidates[0])} keeps to {self.slo} is not known: {candidates[0].reason}."
        return f"There is nothing to advise on: {candidates[0].reason or 'nothing was measured'}."

    def _table(self) -> list[Sequence[str]]:
        """The header and a row a candidate; what nobody knows, such as prices never given, has no column."""
        several = len({candidate.prompts for candidate in self.candidates}) > 1
        limits = list(self.slo.as_dict())
        header = ["deployment", *(["prompts"] if several else []), "load", "meets SLO", *self.slo.labels().values()]
        header += ["margin", "requests/min each", "instances", "USD/hour", "USD/1000 requests"]
        header += ["USD/M input tokens", "USD/M output tokens"]
        rows = [self._row(candidate, limits, several=several) for candidate in self.candidates]
        kept = [place for place in range(len(header)) if any(row[place] != "-" for row in rows)]
        return [[row[place] for place in kept] for row in (header, *rows)]

    def _row(self, one: Candidate, limits: Iterable[str], *, several: bool) -> Sequence[str]:
        found = {judged.name: judged for judged in one.judged}
        return [
            one.deployment,
            *([one.prompts] if several else []),
            (one.load or "-") + (" (highest measured)" if one.highest else ""),
            {"met": "yes", "missed": "no", "unknown": "not known", "unmeasured": "not measured"}[one.standing],
            *(_number(found[name].value if name in found else None) for name in limits),
            "-" if one.margin is None else f"{one.margin:.0%}",
            _number(one.requests_per_minute),
            "-" if one.instances is None else f"{one.instances}" + (f" x {one.instance_type}" if one.instance_type else ""),
            _money(one.usd_per_hour),
            _money(one.usd_per_1000_requests),
            _money(one.usd_per_million_input_tokens),
            _money(one.usd_per_million_output_tokens),
        ]


@overload
def advise(
    experiments: Iterable[Measured], slo: SLO, *, requests_per_minute: float | None = None, simulated: bool = False
) -> Advice: ...
@overload
def advise(
    experiments: Iterable[Measured], slo: SLO, *, requests_per_minute: Sequence[float], simulated: bool = False
) -> AdviceTable: ...
def advise(
    experiments: Iterable[Measured],
    slo: SLO,
    *,
    requests_per_minute: float | Sequence[float] | None = None,
    simulated: bool = False,
) -> Advice | AdviceTable:
    """Say which measured configuration is the cheapest that keeps to the SLO, and how many of it serve the rate.

    Args:
        experiments: What was measured.
        slo: What it has to keep to.
        requests_per_minute: The rate that has to be served; several give a table.
        simulated: Whether the figures come from a simulator.

    Raises:
        ConfigError: a rate is not a number above 0, or there is none in the list.
    """
    seen = tuple(experiments)
    points = points_of(seen, slo)

    def at(rate: float | None) -> Advice:
        return Advice(slo, rate, choose(seen, slo, requests_per_minute=rate), simulated, points)

    if requests_per_minute is None or isinstance(requests_per_minute, int | float):
        return at(requests_per_minute)
    rates = list(requests_per_minute)
    if not rates:
        raise ConfigError("requests_per_minute: the list holds no rate; give one, such as [60, 600]")
    return AdviceTable(tuple(map(at, rates)))


def _recommendation(best: Candidate, slo: SLO, rate: float | None, *, alone: bool) -> str:
    figures = ", ".join(_figure(judged) for judged in best.judged if judged.name in slo.as_dict())
    each = "" if best.requests_per_minute is None else f"{best.requests_per_minute:.4g} requests a minute"
    room = "; no higher load was measured" if best.highest else ""
    doubt = " Its measurement failed a validity check: do not rely on it." if best.verdict == "fail" else ""
    if rate is None:
        price = (
            "" if best.usd_per_1000_requests is None else f", at {_money(best.usd_per_1000_requests)} USD per 1,000 requests"
        )
        what = "" if alone else "The cheapest that" if price else "The fastest that"
        opening = f"{_at(best)} keeps to {slo}" if alone else f"{what} keeps to {slo} is {_at(best)}"
        return f"{opening}: {', '.join(filter(None, (each, figures)))}{price}{room}.{doubt}"
    if best.instances is None:
        return f"{_at(best)} keeps to {slo} ({figures}), but no reply ended in its window, so its rate is not known.{doubt}"
    count = f"{best.instances} x {best.instance_type or best.deployment}"
    where = _at(best) if best.instance_type else f"each at {best.load}"
    price = f"{_money(best.usd_per_hour)} USD an hour" if best.usd_per_hour is not None else "its price is not known"
    return f"{count} ({where}) serve {rate:g} requests a minute within {slo}: {each} each, {figures}, {price}{room}.{doubt}"


def _at(one: Candidate) -> str:
    return f"{one.deployment} at {one.load}"


def _figure(judged: Judged) -> str:
    name = re.sub(r"(?<=p)(\d+)_(?=\d)", r"\1.", judged.name.removesuffix("_seconds")).replace("_", " ")
    value = "not known" if judged.value is None else f"{judged.value:.3g}"
    return f"{name} {value}{'' if judged.name == 'error_rate' or judged.value is None else ' s'}"


def _shortfall(one: Candidate) -> str:
    worst = one.worst
    if worst is None or worst.value is None:
        return "misses it"
    unit = "" if worst.name == "error_rate" else " s"
    over = f", {worst.times - 1:.0%} over the {worst.limit:g}{unit} allowed" if worst.limit else ", where none is allowed"
    return f"has {_figure(worst)}{over}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _money(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}"
