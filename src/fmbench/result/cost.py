"""What a run cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fmbench.metrics import Figure, Prices, usd_of_time
from fmbench.result.deployment import Deployment, Sitting

__all__ = ["Cost", "DeploymentCost", "cost_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCost:
    """What one endpoint cost.

    Args:
        name: The deployment's.
        usd: In all, from the start of deploying to its deletion; ``None`` where not known.
        usd_without_startup: The same from the moment it answered.
        hours: How long it was there; ``None`` where not known.
        hours_without_startup: How long it answered.
        prices: What it was paid with.
        reason: Why ``usd`` is not known.
    """

    name: str
    usd: float | None
    usd_without_startup: float | None
    hours: float | None
    hours_without_startup: float | None
    prices: Prices
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run cost.

    Args:
        usd: In all; ``None`` where one deployment's is not known.
        usd_without_startup: The same without the time in which endpoints came up.
        reason: Why ``usd`` is not known.
        deployments: The same for each.
    """

    usd: float | None
    usd_without_startup: float | None
    reason: str | None
    deployments: tuple[DeploymentCost, ...]


def cost_of(deployments: Iterable[Deployment], usd_of_tokens: Callable[[Deployment], Figure]) -> Cost:
    """Add up what a run's endpoints cost.

    Args:
        deployments: The endpoints.
        usd_of_tokens: What the tokens of one that is paid for by tokens cost; asked only for those.
    """
    rows = tuple(_by_tokens(one, usd_of_tokens(one)) if one.prices.by_tokens else _by_time(one) for one in deployments)
    unknown = [f"{row.name}: {row.reason}" for row in rows if row.reason is not None]
    if unknown or not rows:
        return Cost(usd=None, usd_without_startup=None, reason="; ".join(unknown) or "nothing was deployed", deployments=rows)
    usd, without = sum(row.usd or 0 for row in rows), sum(row.usd_without_startup or 0 for row in rows)
    return Cost(usd=usd, usd_without_startup=without, reason=None, deployments=rows)


def _by_tokens(deployment: Deployment, dear: Figure) -> DeploymentCost:
    """Tokens cost the same whether or not the endpoint took long to come up."""
    hours, answering = _hours(deployment.sittings)
    return DeploymentCost(
        name=deployment.name,
        usd=dear.value,
        usd_without_startup=dear.value,
        hours=hours,
        hours_without_startup=answering,
        prices=deployment.prices,
        reason=dear.reason,
    )


def _by_time(deployment: Deployment) -> DeploymentCost:
    prices = deployment.prices
    hours, answering = _hours(deployment.sittings)
    usd = without = reason = None
    if prices.usd_per_hour is None:
        reason = prices.why_unknown
    elif hours is None or answering is None:
        reason = "the run was killed or goes on: when the endpoint was deleted is not known"
    else:
        usd, without = (usd_of_time(prices.usd_per_hour, prices.instances, each * 3600) for each in (hours, answering))
    return DeploymentCost(
        name=deployment.name,
        usd=usd,
        usd_without_startup=without,
        hours=hours,
        hours_without_startup=answering,
        prices=prices,
        reason=reason,
    )


def _hours(sittings: Sequence[Sitting]) -> tuple[float | None, float | None]:
    """How long an endpoint was there, and how long it answered; one that was never begun was there for no time at all."""
    there = answering = 0
    for sitting in sittings:
        if sitting.started_ns is None:
            continue
        if sitting.ended_ns is None:
            return None, None
        there += sitting.ended_ns - sitting.started_ns
        answering += 0 if sitting.ready_ns is None else sitting.ended_ns - sitting.ready_ns
    return there / 3.6e12, answering / 3.6e12
