"""When a run is to end, whatever is left to do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmbench.benchmark.cases import Asked
from fmbench.benchmark.planning import hourly_usd
from fmbench.benchmark.run_file import RunFile

__all__ = ["Limits", "standing_usd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A run's limits; ``None`` where there is none.

    Args:
        max_hours: How long it may take, this sitting.
        max_usd: What it may cost, earlier sittings included.
    """

    max_hours: float | None
    max_usd: float | None

    def deadline(self, asked: Sequence[Asked]) -> float | None:
        """When a run that begins now must be over, in seconds since the epoch; ``None`` without a limit that tells.

        What the money allows at most is the time that the cheapest endpoint alone could stand for it.
        """
        now, ends = time.time(), []
        if self.max_hours is not None:
            ends.append(now + self.max_hours * 3600)
        if self.max_usd is not None:
            rates = [hourly_usd(deployment.facts()) for deployment in dict.fromkeys(one.deployment for one in asked)]
            known = [rate for rate in rates if rate]
            if known and len(known) == len(rates):
                ends.append(now + self.max_usd / min(known) * 3600)
        return min(ends, default=None)

    def reached(self, *, hours: float, usd: float) -> str | None:
        """The limit that is reached, in words.

        Args:
            hours: How long the run has gone on.
            usd: What it has cost.
        """
        if self.max_hours is not None and hours >= self.max_hours:
            return f"max_hours={self.max_hours:g} was reached"
        if self.max_usd is not None and usd >= self.max_usd:
            return f"max_usd={self.max_usd:g} was reached"
        return None


def standing_usd(asked: Iterable[Asked], run_file: RunFile) -> float:
    """What the endpoints have cost by their hourly prices, from the deployer's beginning to its end, in USD."""
    spent = 0.0
    for one in dict.fromkeys(one.deployment for one in asked):
        entry = run_file.deployment(one.name)
        facts: Mapping[str, Any] = {**one.facts(), **(entry["endpoint"] or {}).get("facts", {})}
        for times in (entry, *entry["earlier"]):
            if times["started_ns"] is not None:
                end = times["ended_ns"] if times["ended_ns"] is not None else run_file.now_ns()
                spent += (hourly_usd(facts) or 0.0) * (end - times["started_ns"]) / 3.6e12
    return spent
