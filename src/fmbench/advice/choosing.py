"""The decision: which measured configuration meets the SLO, and how many of it are needed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from fmbench.advice.slo import SLO, statistic_of
from fmbench.errors import ConfigError
from fmbench.metrics import MOST_ERRORS, Distribution, Prices, quantile_of
from fmbench.types import Facts

__all__ = ["Candidate", "Judged", "Measured", "choose"]


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

    @property
    def met(self) -> bool:
        """Whether the value is known and within the limit."""
        return self.value is not None and self.value <= self.limit

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
        experiment: Which experiment says so: the highest load that meets the SLO, else the one that comes nearest.
        load: That experiment's load.
        highest: Whether no higher load was measured, so that there may be room for more.
        judged: Each limit against what was measured.
        requests_per_minute: What one instance does there.
        instances: How many of them the asked-for rate needs.
        instance_type: Of what kind.
        usd_per_hour: What these cost an hour; by tokens, what the asked-for rate costs an hour.
        usd_per_1000_requests: What 1,000 requests cost there.
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
    requests_per_minute: float | None = None
    instances: int | None = None
    instance_type: str | None = None
    usd_per_hour: float | None = None
    usd_per_1000_requests: float | None = None
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
    """Find, for each combination that was tried, the highest measured load that meets the SLO.

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
        raise ConfigError(f"requests_per_minute must be above 0, not {requests_per_minute:g}")
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
        judged.append(Judged(name, limit, value, why))
    return tuple(judged)


def _level(experiment: Measured) -> float:
    return experiment.concurrency or experiment.per_second or 0.0


def _candidate(group: Sequence[Measured], slo: SLO, rate: float | None) -> Candidate:
    judged = {experiment.name: _judge(experiment, slo) for experiment in group}
    met = [experiment for experiment in group if all(each.met for each in judged[experiment.name])]
    if met:
        # Closed and open loads have no common scale, so the highest of each is taken, and the faster of the two.
        highest = [max(kind, key=_level) for kind in _kinds(met)]
        return _met(max(highest, key=lambda experiment: experiment.tps or 0.0), group, judged, rate)
    told = [experiment for experiment in group if all(each.value is not None for each in judged[experiment.name])]
    failing = [experiment for experiment in group if any(each.value and not each.met for each in judged[experiment.name])]
    if nearest := min(told or failing, key=lambda e: max(each.times for each in judged[e.name]), default=None):
        return _unmet(nearest, "missed", None, judged[nearest.name])
    tried = [experiment for experiment in group if experiment.tps]
    if tried:
        reasons = [each.reason for each in judged[tried[-1].name] if each.value is None]
        return _unmet(tried[-1], "unknown", reasons[0], judged[tried[-1].name])
    return _unmet(group[0], "unmeasured", group[0].reason or group[0].latency.why_none(), ())


def _kinds(experiments: Sequence[Measured]) -> list[list[Measured]]:
    closed = [experiment for experiment in experiments if experiment.concurrency is not None]
    opened = [experiment for experiment in experiments if experiment.concurrency is None]
    return [kind for kind in (closed, opened) if kind]


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
    return Candidate(
        deployment=best.deployment,
        prompts=best.prompts,
        parameters=best.parameters,
        standing="met",
        experiment=best.name,
        load=best.load,
        highest=_level(best) >= max(_level(experiment) for experiment in alike if experiment.tps),
        judged=judged[best.name],
        requests_per_minute=each,
        instances=instances,
        instance_type=best.facts.get("instance_type"),
        usd_per_hour=usd_per_hour,
        usd_per_1000_requests=per_1000,
        verdict=best.verdict,
    )


def _unmet(nearest: Measured, standing: Standing, reason: str | None, judged: tuple[Judged, ...]) -> Candidate:
    return Candidate(
        deployment=nearest.deployment,
        prompts=nearest.prompts,
        parameters=nearest.parameters,
        standing=standing,
        reason=reason,
        experiment=nearest.name,
        load=nearest.load,
        judged=judged,
        instance_type=nearest.facts.get("instance_type"),
        usd_per_1000_requests=nearest.cost_per_1000_requests_usd,
        verdict=nearest.verdict,
    )


def _rank(candidate: Candidate) -> tuple[float, ...]:
    if candidate.standing == "met":
        price = candidate.usd_per_1000_requests if candidate.usd_per_hour is None else candidate.usd_per_hour
        return 0, math.inf if price is None else price, candidate.instances or 0, -(candidate.requests_per_minute or 0)
    order = {"missed": 1, "unknown": 2, "unmeasured": 3}[candidate.standing]
    return order, candidate.worst.times if candidate.worst else math.inf
