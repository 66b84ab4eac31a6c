"""What would be done, for how long at most and at what most cost; nothing is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmbench.benchmark.cases import Asked
from fmbench.load import Load, conversing
from fmbench.types import Prompt

__all__ = ["Plan", "PlanRow", "hourly_usd", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One experiment as planned. ``None`` where it depends on what is not known yet, such as how many prompts there are."""

    experiment: str
    deployment: str
    prompts: str
    load: str
    requests: int | None
    """Warm-up included."""
    max_seconds: float | None
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A benchmark's experiments, with upper bounds; starting and stopping endpoints comes on top where no limit is known."""

    rows: Sequence[PlanRow]
    max_seconds: float | None
    max_usd: float | None

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        rows = [{name: getattr(row, name) for name in PlanRow.__slots__} for row in self.rows]
        return {"rows": rows, "max_seconds": self.max_seconds, "max_usd": self.max_usd}

    def __str__(self) -> str:
        lines = [f"{len(self.rows)} experiments"]
        for row in self.rows:
            requests = "requests not known yet" if row.requests is None else f"{row.requests} requests"
            lines.append(f"  {row.experiment}: {requests}, at most {_text(row.max_seconds, 's')}")
        lines.append(f"at most {_text(self.max_seconds, 's')}, at most {_text(self.max_usd, 'USD')}")
        return "\n".join(lines)


def _text(value: float | None, unit: str) -> str:
    return f"(not known) {unit}" if value is None else f"{value:,.2f} {unit}" if unit == "USD" else f"{value:,.0f} {unit}"


def hourly_usd(facts: Mapping[str, Any]) -> float | None:
    """What an endpoint costs an hour, all instances together; ``None`` where no hourly price is known."""
    rate = facts.get("usd_per_hour")
    return None if rate is None else float(rate) * (facts.get("instance_count") or 1)


def plan(
    asked: Sequence[Asked], *, warmup: int | None, timeout: float, drain: float, max_usd: float | None, max_hours: float | None
) -> Plan:
    """Bound each experiment by its load's seconds, or by every request taking the whole time-out."""
    rows = [_row(one, warmup=warmup, timeout=timeout, drain=drain) for one in asked]
    seconds = _sum([row.max_seconds for row in rows])
    limits = {one.deployment.name: one.deployment.facts().get("start_limit_seconds") or 0.0 for one in asked}
    if seconds is not None:
        seconds += sum(limits.values())
    if max_hours is not None:
        seconds = max_hours * 3600 if seconds is None else min(seconds, max_hours * 3600)
    # An endpoint stands only while its own experiments run, but it may wait for others': the bound takes them all.
    rates = _sum([row.usd_per_hour for row in {row.deployment: row for row in rows}.values()])
    usd = None if seconds is None or rates is None else seconds / 3600 * rates
    if max_usd is not None:
        usd = max_usd if usd is None else min(usd, max_usd)
    return Plan(rows=rows, max_seconds=seconds, max_usd=usd)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _row(one: Asked, *, warmup: int | None, timeout: float, drain: float) -> PlanRow:
    source = one.prompts.source
    load = conversing(one.load, source) if isinstance(source, Sequence) else one.load
    first = load.warmup(warmup)
    prompts = load.arranged(source) if isinstance(source, Sequence) else None
    total = load.requests if prompts is None else load.total(prompts)
    requests = None if total is None else total + first
    return PlanRow(
        experiment=one.name,
        deployment=one.deployment.name,
        prompts=one.prompts.name,
        load=str(load),
        requests=requests,
        max_seconds=_bound(load, prompts, requests, first, timeout=timeout, drain=drain),
        usd_per_hour=hourly_usd(one.deployment.facts()),
    )


def _bound(
    load: Load, prompts: Sequence[Prompt] | None, requests: int | None, warmup: int, *, timeout: float, drain: float
) -> float | None:
    if load.streams is None:
        sending = load.sending_seconds(prompts, warmup=warmup)
        return None if sending is None else sending + drain
    bounds = []
    if load.seconds is not None:
        bounds.append(-(-warmup // load.streams) * timeout + load.seconds + drain)
    if requests is not None:
        bounds.append(-(-requests // load.streams) * timeout)
    return min(bounds) if bounds else None
