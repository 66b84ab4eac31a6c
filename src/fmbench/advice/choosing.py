"""The decision: which measured configuration meets the SLO, and how many of it are needed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from fmbench.advice.front import Point, with_front
from fmbench.advice.slo import SLO, statistic_of
from fmbench.errors import ConfigError
from fmbench.metrics import MOST_ERRORS, Distribution, Prices, quantile_of
from fmbench.types import Facts

__all__ = ["Candidate", "Judged", "Measured", "choose", "points_of"]


class Measured(Protocol):
    """What a decision needs to know of an experiment; ``fmbench.result.Experiment`` is one."""

    @property
    def name(self) -> str: ...
    @property
    def deployment(self) -> str: ...
    @property
    def prompts(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def load(self) -> str: ...
    @property
    def concurrency(self) -> int | None: ...
    @property
    def per_second(self) -> float | None: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def verdict(self) -> str: ...
    @property
    def tps(self) -> float | None: ...
    @property
    def error_rate(self) -> float | None: ...
    @property
    def cost_per_1000_requests_usd(self) -> float | None: ...
    @property
    def usd_per_million_output_tokens(self) -> float | None: ...
    @property
    def prompt_tokens(self) -> Distribution: ...
    @property
    def latency(self) -> Distribution: ...
    @property
    def response_latency(self) -> Distribution: ...
    @property
    def service_latency(self) -> Distribution: ...
    @property
    def ttft(self) -> Distribution: ...
    @property
    def itl(self) -> Distribution: ...
    @property
    def tpot(self) -> Distribution: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """One limit against what was measured."""

    name: str
    limit: float
    value: float | None
    reason: str | None = None
    """Why the value is not known."""
    interval: tuple[float, float] | None = None
    """The value's 95 % confidence interval, of a percentile."""

    @property
    def met(self) -> bool:
        """Whether the value is known and within the limit."""
        return self.value is not None and self.value <= self.limit

    @property
    def sure(self) -> bool:
        """Whether the whole interval is within the limit, where there is an interval."""
        return self.met and (self.interval is None or self.interval[1] <= self.limit)

    @property
    def times(self) -> float:
        """The value as a multiple of the limit; infinite where it is not known, or nothing is allowed."""
        if self.value is None:
            return math.inf
        return self.value / self.limit if self.limit else math.inf if self.value else 0.0


Standing = Literal["met", "missed", "unknown", "unmeasured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One deployment on one prompt set with one set of parameters, at the best load that was measured.

    Args:
        deployment: Its name.
        prompts: The prompt set.
        parameters: The generation parameters.
        standing: ``met``; ``missed``; ``unknown``, where a figure the SLO needs is not known; ``unmeasured``.
        reason: Why it is not ``met``.
        experiment: Which experiment says so: among the loads that meet the SLO, the one with the most requests a minute; else
            the one that comes nearest.
        load: That experiment's load: the candidate's capacity, as far as it was measured.
        highest: Whether no higher load was measured, so that there may be room for more.
        judged: Each limit against what was measured.
        margin: By which share of its limit the closest value stays below it; 0.2 is 20 %.
        sure: Whether each percentile's confidence interval stays below its limit too.
        limited_by: What breaks at the next higher load that was measured, or that there is none.
        requests_per_minute: What one instance does there.
        instances: How many of them the asked-for rate needs, were requests spread evenly over them.
        instance_type: Of what kind.
        usd_per_hour: What these cost an hour; by tokens, what the asked-for rate costs an hour.
        usd_per_1000_requests: What 1,000 requests cost on instances that are kept as busy as it was measured.
        usd_per_1000_requests_at_rate: The same at the asked-for rate, idle time of whole instances paid for.
        usd_per_million_input_tokens: What a million prompt tokens cost there, their replies included.
        usd_per_million_output_tokens: What a million completion tokens cost there, their prompts included.
        verdict: What validity says of that experiment.
    """

    deployment: str
    prompts: str
    parameters: Mapping[str, Any]
    standing: Standing
    reason: str | None = None
    experiment: str | None = None
    load: str | None = None
    highest: bool = False
    judged: tuple[Judged, ...] = ()
    margin: float | None = None
    sure: bool | None = None
    limited_by: str | None = None
    requests_per_minute: float | None = None
    instances: int | None = None
    instance_type: str | None = None
    usd_per_hour: float | None = None
    usd_per_1000_requests: float | None = None
    usd_per_1000_requests_at_rate: float | None = None
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None
    verdict: str | None = None

    @property
    def worst(self) -> Judged | None:
        """The limit that is missed by most, relative to itself."""
        missed = [judged for judged in self.judged if judged.value is not None and not judged.met]
        return max(missed, key=lambda judged: judged.times, default=None)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"parameters": dict(self.parameters)}


def choose(experiments: Iterable[Measured], slo: SLO, *, requests_per_minute: float | None = None) -> tuple[Candidate, ...]:
    """Find, for each combination that was tried, the measured load that meets the SLO and does the most requests a minute.

    Nothing is interpolated: only what was measured is recommended.

    Args:
        experiments: What was measured.
        slo: What it has to keep to.
        requests_per_minute: The rate that has to be served; ``None`` asks only for the price of a request.

    Returns:
        The candidates, prompt sets in their order, in each of them the best first: those that meet the SLO, the cheapest first
        and those without a price after them; then those that miss it, the nearest first; then what cannot be told.

    Raises:
        ConfigError: the rate is not a number above 0.
    """
    if requests_per_minute is not None and not (requests_per_minute > 0 and math.isfinite(requests_per_minute)):
        raise ConfigError(f"requests_per_minute must be a number above 0, not {requests_per_minute:g}")
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for experiment in experiments:
        parameters = json.dumps(dict(experiment.parameters), sort_keys=True, default=str)
        groups.setdefault((experiment.prompts, experiment.deployment, parameters), []).append(experiment)
    candidates = [_candidate(group, slo, requests_per_minute) for group in groups.values()]
    sets = list(dict.fromkeys(candidate.prompts for candidate in candidates))
    return tuple(sorted(candidates, key=lambda candidate: (sets.index(candidate.prompts), _rank(candidate))))


def _judge(experiment: Measured, slo: SLO) -> tuple[Judged, ...]:
    judged = []
    for name, limit in ({"error_rate": MOST_ERRORS} | slo.as_dict()).items():
        if name == "error_rate":
            judged.append(Judged(name, limit, experiment.error_rate, "no request ended"))
            continue
        metric, statistic = statistic_of(name)
        values: Distribution = getattr(experiment, metric)
        q = quantile_of(statistic)
        value = values.mean if q is None else values.quantile(q)
        why = values.why_none(q)
        interval = None if q is None or value is None else values.interval(q)
        judged.append(Judged(name, limit, value, why, interval))
    return tuple(judged)


def _level(experiment: Measured) -> float:
    return experiment.concurrency or experiment.per_second or 0.0


def _candidate(group: Sequence[Measured], slo: SLO, rate: float | None) -> Candidate:
    judged = {experiment.name: _judge(experiment, slo) for experiment in group}
    met = [experiment for experiment in group if all(each.met for each in judged[experiment.name])]
    if met:
        # The most requests a minute: at a higher load that does fewer, requests only wait.
        return _met(max(met, key=lambda each: (each.tps or 0.0, _level(each))), group, judged, rate)
    told = [experiment for experiment in group if all(each.value is not None for each in judged[experiment.name])]
    failing = [experiment for experiment in group if any(each.value and not each.met for each in judged[experiment.name])]
    if nearest := min(told or failing, key=lambda e: max(each.times for each in judged[e.name]), default=None):
        return _unmet(nearest, "missed", None, judged[nearest.name])
    tried = [experiment for experiment in group if experiment.tps]
    if tried:
        reasons = [each.reason for each in judged[tried[-1].name] if each.value is None]
        return _unmet(tried[-1], "unknown", reasons[0], judged[tried[-1].name])
    return _unmet(group[0], "unmeasured", group[0].reason or group[0].latency.why_none(), ())


def _met(best: Measured, group: Sequence[Measured], judged: Mapping[str, tuple[Judged, ...]], rate: float | None) -> Candidate:
    prices = Prices.of(best.facts)
    each = best.tps * 60 / prices.instances if best.tps else None
    instances = math.ceil(rate / each) if rate and each else None
    per_1000 = best.cost_per_1000_requests_usd
    usd_per_hour = None
    if prices.by_tokens and rate and per_1000 is not None:
        usd_per_hour = per_1000 * rate * 60 / 1000
    elif prices.usd_per_hour is not None and instances:
        usd_per_hour = prices.usd_per_hour * instances
    alike = [experiment for experiment in group if (experiment.concurrency is None) == (best.concurrency is None)]
    above = sorted((one for one in alike if one.tps and _level(one) > _level(best)), key=_level)
    headroom = [1 - each.value / each.limit for each in judged[best.name] if each.value is not None and each.limit]
    at_rate = None if usd_per_hour is None or not rate else usd_per_hour / (rate * 60) * 1000
    candidate = Candidate(
        deployment=best.deployment,
        prompts=best.prompts,
        parameters=best.parameters,
        standing="met",
        experiment=best.name,
        load=best.load,
        highest=not above,
        judged=judged[best.name],
        margin=min(headroom, default=None),
        sure=all(each.sure for each in judged[best.name]),
        limited_by=_limited_by(above, judged),
        requests_per_minute=each,
        instances=instances,
        instance_type=best.facts.get("instance_type"),
        usd_per_hour=usd_per_hour,
        usd_per_1000_requests_at_rate=at_rate,
        verdict=best.verdict,
    )
    return _costed(candidate, best)


def _limited_by(above: Sequence[Measured], judged: Mapping[str, tuple[Judged, ...]]) -> str:
    """What the next higher load breaks; ``above`` are all higher ones, the lowest first."""
    for one in above:
        broken = [each for each in judged[one.name] if not each.met]
        if broken:
            worst = max(broken, key=lambda each: each.times)
            if worst.value is None:
                return f"{worst.name} is not known at {one.load}: {worst.reason}"
            unit = "" if worst.name == "error_rate" else " s"
            return f"{worst.name} is {worst.value:.3g}{unit} at {one.load}, {worst.limit:g}{unit} allowed"
    if above:
        return f"throughput: {above[-1].load} does no more requests a minute"
    return "no higher load was measured"


def _costed(candidate: Candidate, one: Measured) -> Candidate:
    """With what requests and tokens cost at its load."""
    per_1000, tokens = one.cost_per_1000_requests_usd, one.prompt_tokens.mean
    return replace(
        candidate,
        usd_per_1000_requests=per_1000,
        usd_per_million_input_tokens=per_1000 * 1000 / tokens if per_1000 is not None and tokens else None,
        usd_per_million_output_tokens=one.usd_per_million_output_tokens,
    )


def _unmet(nearest: Measured, standing: Standing, reason: str | None, judged: tuple[Judged, ...]) -> Candidate:
    candidate = Candidate(
        deployment=nearest.deployment,
        prompts=nearest.prompts,
        parameters=nearest.parameters,
        standing=standing,
        reason=reason,
        experiment=nearest.name,
        load=nearest.load,
        judged=judged,
        instance_type=nearest.facts.get("instance_type"),
        verdict=nearest.verdict,
    )
    return _costed(candidate, nearest)


def points_of(experiments: Iterable[Measured], slo: SLO) -> tuple[Point, ...]:
    """Every experiment whose latency and rate are known, as a choice; those that nothing beats are on the front."""
    name = next((limit for limit in slo.as_dict() if limit != "error_rate"), "latency_p95_seconds")
    metric, statistic = statistic_of(name)
    q = quantile_of(statistic)
    points = []
    for one in experiments:
        values: Distribution = getattr(one, metric)
        seconds = values.mean if q is None else values.quantile(q)
        if seconds is None or not one.tps:
            continue
        judged = _judge(one, slo)
        unknown = any(each.value is None for each in judged)
        points.append(
            Point(
                experiment=one.name,
                deployment=one.deployment,
                prompts=one.prompts,
                load=one.load,
                latency_seconds=seconds,
                latency=name,
                requests_per_minute=one.tps * 60 / Prices.of(one.facts).instances,
                usd_per_1000_requests=one.cost_per_1000_requests_usd,
                meets=None if unknown else all(each.met for each in judged),
            )
        )
    return with_front(points)


def _rank(candidate: Candidate) -> tuple[float, ...]:
    if candidate.standing == "met":
        price = candidate.usd_per_1000_requests if candidate.usd_per_hour is None else candidate.usd_per_hour
        return 0, math.inf if price is None else price, candidate.instances or 0, -(candidate.requests_per_minute or 0)
    order = {"missed": 1, "unknown": 2, "unmeasured": 3}[candidate.standing]
    return order, candidate.worst.times if candidate.worst else math.inf
