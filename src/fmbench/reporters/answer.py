"""The first screen: the answer in one sentence, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fmbench.reporters.charts.view import View
from fmbench.reporters.rates import rates_for, readable
from fmbench.reporters.summary import Cell, Column, Table
from fmbench.reporters.wording import DASH, duration, figures, pairs, percent, usd

if TYPE_CHECKING:
    from fmbench import Advice, AdviceTable, Candidate, Check, Experiment, Result

__all__ = ["Answer", "Doubt", "Trust", "answer_of", "prices_changed", "trust_in", "unknown_cost"]


class Answer(NamedTuple):
    """What the run says."""

    sentence: str
    advised: bool
    """Whether there was an SLO to answer to."""
    evidence: Table
    """The candidates; without an SLO, the most that each did."""
    remark: str = ""
    remarks: Sequence[str] = ()
    """What was not measured, and what the answer takes for granted."""
    rates: Table | None = None
    """How many instances of each candidate serve which rate."""


def answer_of(result: Result) -> Answer:
    """The advice where there is an SLO, else the measured maxima."""
    if result.slo is None:
        return _maxima(result)
    advice = result.advise()
    remark = "" if any(one.latency.count for one in result.experiments) else _nothing(result)
    table = rates_for(result) if any(one.standing == "met" for one in advice.candidates) else None
    return Answer(
        advice.sentence,
        advised=True,
        evidence=_candidates(advice),
        remark=remark,
        remarks=list(map(readable, advice.remarks)),
        rates=None if table is None else _rates(table),
    )


def _rates(table: AdviceTable) -> Table:
    """A row a candidate, a column a rate; the cheapest of a rate is marked."""
    rows = table.candidates()
    first = [same[0] for same in rows]
    columns = [Column(name="Deployment", cells=[Cell(one.deployment) for one in first], numeric=False)]
    columns += [column for column in [Column(name="Prompts", cells=[Cell(one.prompts) for one in first], numeric=False)]
                if not _idle(column)]  # fmt: skip
    for place, advice in enumerate(table):
        cells = [_instances(same[place], advice) for same in rows]
        columns.append(Column(name=f"{advice.requests_per_minute:,g}", group="Requests a minute to be served", cells=cells))
    return Table(columns, [])


def _instances(one: Candidate, advice: Advice) -> Cell:
    if one.standing != "met" or one.instances is None:
        return Cell(DASH, title=one.reason or "it does not keep to the SLO")
    price = "" if one.usd_per_hour is None else f", {usd(one.usd_per_hour)}/h"
    best = " ✓" if one is advice.best_for(one.prompts) else ""
    each = "" if one.usd_per_1000_requests_at_rate is None else f"; {usd(one.usd_per_1000_requests_at_rate)} per 1,000 requests"
    return Cell(f"{one.instances:,}{price}{best}", title=f"{one.instances:,} x {one.instance_type or one.deployment}{each}")


def _candidates(advice: Advice) -> Table:
    standings = {"met": "yes", "missed": "no", "unknown": "not known", "unmeasured": "not measured"}
    candidates = advice.candidates
    columns = [
        Column(name="Deployment", cells=[Cell(one.deployment) for one in candidates], numeric=False),
        Column(name="Prompts", cells=[Cell(one.prompts) for one in candidates], numeric=False),
        Column(
            name="Load",
            meaning="the measured load with the most requests a minute that meets the SLO, else the one that comes nearest",
            cells=[
                _known(one.load and one.load + (" (highest measured)" if one.highest else ""))._replace(
                    title=readable(one.limited_by or "")
                )
                for one in candidates
            ],
            numeric=False,
        ),
        Column(
            name="Meets the SLO",
            cells=[Cell(standings[one.standing], title=one.reason or "") for one in candidates],
            numeric=False,
        ),
    ]
    for name, label in advice.slo.labels().items():
        found = [next((judged for judged in one.judged if judged.name == name), None) for one in candidates]
        cells = [_known(None if each is None or each.value is None else figures(each.value)) for each in found]
        columns.append(Column(name=label, cells=cells))
    rates = [_known(None if one.requests_per_minute is None else figures(one.requests_per_minute)) for one in candidates]
    columns.append(Column(name="Requests/min each", meaning="of one instance", cells=rates))
    margins = [_known(None if one.margin is None else percent(one.margin)) for one in candidates]
    columns.append(Column(name="Margin", meaning="by how much the closest value stays below its limit", cells=margins))
    for name, attribute, meaning in _PRICES:
        prices = [getattr(one, attribute) for one in candidates]
        if any(price is not None for price in prices):
            cells = [_known(None if price is None else usd(price)) for price in prices]
            columns.append(Column(name=name, group="Cost of", meaning=meaning, cells=cells))
    return Table([column for column in columns if not _idle(column)], [])


_PRICES = (
    ("1,000 requests", "usd_per_1000_requests", "on instances kept as busy as measured, start-up left out"),
    ("1 M input tokens", "usd_per_million_input_tokens", "their replies included"),
    ("1 M output tokens", "usd_per_million_output_tokens", "their prompts included"),
)


def _idle(column: Column) -> bool:
    """Whether a column of prompt sets tells nothing apart."""
    return column.name == "Prompts" and len({cell.text for cell in column.cells}) < 2


def _known(text: str | None) -> Cell:
    return Cell(text or DASH)


def _maxima(result: Result) -> Answer:
    remark = (
        "No SLO was given, so nothing is recommended. To be told which configuration to take and how many of it: "
        "fmbench advise DIR --slo latency_p95_seconds=5 --requests-per-minute 600"
    )
    done = [one for one in result.experiments if one.tps]
    if not done:
        return Answer(_nothing(result), advised=False, evidence=Table([], []), remark=remark if result.experiments else "")
    view = View(result)
    best = max(done, key=_rate)
    several = len(view.prompt_sets) > 1
    tokens = "" if best.output_throughput is None else f" ({figures(best.output_throughput)} tokens a second)"
    sentence = (
        f"The most measured was {figures(_rate(best))} requests a second{tokens}: {best.deployment} at {best.load}"
        f"{f' on {best.prompts}' if several else ''}{_typical(best)}."
    )
    simulated = "Simulated: " if result.simulated else ""
    return Answer(simulated + sentence, advised=False, evidence=_most(view), remark=remark)


def _typical(one: Experiment) -> str:
    """Its latency, by the highest of the two usual percentiles that is known."""
    if one.latency.p95 is not None:
        return f", where 95% of requests took at most {duration(one.latency.p95)}"
    if one.latency.p50 is not None:
        return f", where half of the requests took at most {duration(one.latency.p50)}"
    return ""


def _nothing(result: Result) -> str:
    if not result.experiments:
        return "There is no answer: the run has no experiment."
    kinds: dict[str, str] = {}
    for one in result.experiments:
        for kind, seen in one.errors.items():
            kinds.setdefault(kind, seen.message)
    if kinds:
        kind, message = next(iter(kinds.items()))
        return f"There is no answer: no request succeeded ({kind}: {message})."
    reasons = dict.fromkeys(one.reason for one in result.experiments if one.reason)
    return f"There is no answer: nothing was measured{f' ({next(iter(reasons))})' if reasons else ''}."


def _rate(one: Experiment) -> float:
    return one.tps or 0.0


def _most(view: View) -> Table:
    """For each group: the load with the highest throughput, and what latency was there."""
    best = [max(experiments, key=_rate) for _, experiments in view.groups()]
    columns = [Column(name="Deployment", cells=[Cell(one.deployment) for one in best], numeric=False)]
    if len(view.prompt_sets) > 1:
        columns.append(Column(name="Prompts", cells=[Cell(one.prompts) for one in best], numeric=False))
    if len(view.parameters) > 1:
        columns.append(Column(name="Parameters", cells=[Cell(view.parameters_of(one)) for one in best], numeric=False))
    tokens = [_known(None if one.output_throughput is None else figures(one.output_throughput)) for one in best]
    latencies = [_known(None if one.latency.p95 is None else duration(one.latency.p95)) for one in best]
    columns += [
        Column(name="Most requests/s", cells=[_known(figures(one.tps) if one.tps else None) for one in best]),
        Column(name="at", cells=[_known(one.load if one.tps else None) for one in best], numeric=False),
        Column(name="Tokens/s there", cells=tokens),
        Column(name="Latency p95 there", cells=latencies),
    ]
    return Table(columns, [])


def unknown_cost(result: Result) -> str:
    """Why it is not known what the run cost: each reason once, with the deployments where not all have it."""
    where: dict[str, list[str]] = {}
    for row in result.cost.deployments:
        if row.reason is not None:
            where.setdefault(row.reason, []).append(row.name)
    every = len(result.cost.deployments)
    told = [reason if len(names) == every else f"{', '.join(names)}: {reason}" for reason, names in where.items()]
    return "; ".join(told) or (result.cost.reason or "")


def prices_changed(result: Result) -> str:
    """How prices were changed after the run; empty where they were not."""
    told = []
    for change in result.repriced:
        parts = [f"{name}: {'not known' if price is None else pairs(price)}" for name, price in change["prices"].items()]
        parts += [f"times {change['multiplier']:g}"] if change["multiplier"] != 1 else []
        parts += [f"in {change['region']}"] if change["region"] else []
        told.append("; ".join(parts) or "nothing")
    return "" if not told else f"Prices were changed after the run: {'; then '.join(told)}."


class Doubt(NamedTuple):
    """One kind of check, over all experiments."""

    worst: Check
    """The one that is told: the furthest beyond its limit among the worst."""
    others: Sequence[Check]
    """All that did not pass, that one among them."""
    checked: int
    """How often it was looked at."""

    @property
    def where(self) -> str:
        """In which experiments."""
        if self.worst.experiment is None:
            return "the run"
        if len(self.others) == 1:
            return self.worst.experiment
        return f"{len(self.others)} of {self.checked} experiments"


class Trust(NamedTuple):
    """How far the numbers may be believed."""

    verdict: str
    """Empty where there was nothing to check."""
    sentence: str
    doubts: Sequence[Doubt]
    """What did not pass, the worst first."""
    passed: Sequence[Check]
    """One of each kind that passed everywhere."""


def trust_in(result: Result) -> Trust:
    """Validity, summed up over the experiments."""
    by_name: dict[str, list[Check]] = {}
    for check in result.validity:
        by_name.setdefault(check.name, []).append(check)
    doubts = [_doubt(checks) for checks in by_name.values() if any(check.verdict != "pass" for check in checks)]
    doubts.sort(key=lambda doubt: doubt.worst.verdict != "fail")
    passed = [checks[0] for checks in by_name.values() if all(check.verdict == "pass" for check in checks)]
    return Trust(result.verdict if by_name else "", _verdict(doubts, len(passed)), doubts, passed)


def _doubt(checks: Sequence[Check]) -> Doubt:
    others = [check for check in checks if check.verdict != "pass"]
    return Doubt(max(others, key=lambda check: (check.verdict == "fail", _beyond(check))), others, len(checks))


def _beyond(check: Check) -> float:
    """How far its figure lies beyond its limit."""
    return 0.0 if check.figure is None or check.limit is None else abs(check.figure - check.limit)


def _verdict(doubts: Sequence[Doubt], passed: int) -> str:
    kinds = passed + len(doubts)
    failed = sum(doubt.worst.verdict == "fail" for doubt in doubts)
    if not kinds:
        return "Nothing was measured that could be checked."
    if failed:
        return f"Do not rely on these numbers: {failed} of {kinds} checks failed."
    if doubts:
        return f"The numbers hold, with reservations: {len(doubts)} of {kinds} checks warn."
    return f"The numbers can be believed: all {kinds} checks passed."
