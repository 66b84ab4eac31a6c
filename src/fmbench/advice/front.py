"""The Pareto front: what is beaten by nothing that was measured, in latency, throughput and cost together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Point", "with_front"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One experiment, as a choice between latency, throughput and cost.

    Args:
        experiment: Its name.
        deployment: Its deployment's name.
        prompts: Its prompt set.
        load: Its load.
        latency_seconds: The latency that the SLO limits (its first limit; the headline's 95th percentile where it names none).
        latency: Which that is: ``latency_p95_seconds``.
        requests_per_minute: What one instance did.
        usd_per_1000_requests: What 1,000 requests cost; ``None`` where no price is known.
        meets: Whether it keeps to the SLO; ``None`` where that is not known.
        on_front: Whether no other experiment on the same prompts is at least as good in all three, and better in one. Where
            prices are not known, the other two decide.
    """

    experiment: str
    deployment: str
    prompts: str
    load: str
    latency_seconds: float
    latency: str
    requests_per_minute: float
    usd_per_1000_requests: float | None
    meets: bool | None
    on_front: bool = False

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def with_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points, those on the front marked."""
    return tuple(replace(one, on_front=not any(_beats(other, one) for other in points)) for one in points)


def _beats(one: Point, two: Point) -> bool:
    if one.prompts != two.prompts:
        return False
    pairs = [(one.latency_seconds, two.latency_seconds), (-one.requests_per_minute, -two.requests_per_minute)]
    if one.usd_per_1000_requests is not None and two.usd_per_1000_requests is not None:
        pairs.append((one.usd_per_1000_requests, two.usd_per_1000_requests))
    elif two.usd_per_1000_requests is not None:
        return False  # a price that is known is not beaten by one that is not
    return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)
