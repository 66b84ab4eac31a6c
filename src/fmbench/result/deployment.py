"""One endpoint of a run, as it was deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fmbench.metrics import Prices
from fmbench.types import Facts

__all__ = ["Deployment", "Sitting"]


@dataclass(frozen=True, slots=True)
class Sitting:
    """When an endpoint was up, in nanoseconds from the run's start; a resumed run has several."""

    started_ns: int | None
    ready_ns: int | None
    ended_ns: int | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Sitting:
        """The times of an entry of ``run.json``."""
        return cls(entry.get("started_ns"), entry.get("ready_ns"), entry.get("ended_ns"))

    @property
    def startup_seconds(self) -> float | None:
        """From the start of deploying to an endpoint that answers."""
        if self.started_ns is None or self.ready_ns is None:
            return None
        return (self.ready_ns - self.started_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One endpoint of a run.

    Args:
        name: What people call it.
        status: ``up``, ``failed`` or ``pending``.
        error: ``{"kind": …, "message": …}`` where it failed.
        url: Its root; ``None`` where it never came up.
        model: The name requests ask for.
        facts: What is known of it.
        sitting: When it was up, the last time.
        earlier: When it was up before the run was resumed.
    """

    name: str
    status: str
    error: Mapping[str, Any] | None = None
    url: str | None = None
    model: str | None = None
    facts: Facts = field(default_factory=dict)
    sitting: Sitting = Sitting(None, None, None)
    earlier: tuple[Sitting, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Deployment:
        """A deployment out of its entry in ``run.json``."""
        endpoint = entry.get("endpoint") or {}
        return cls(
            name=entry["name"],
            status=entry["status"],
            error=entry.get("error"),
            url=endpoint.get("url"),
            model=endpoint.get("model"),
            facts={**(entry.get("facts") or {}), **(endpoint.get("facts") or {})},
            sitting=Sitting.of(entry),
            earlier=tuple(map(Sitting.of, entry.get("earlier") or ())),
        )

    @property
    def sittings(self) -> tuple[Sitting, ...]:
        """All of them, in order."""
        return (*self.earlier, self.sitting)

    @property
    def startup_seconds(self) -> float | None:
        """How long it took to come up, the last time."""
        return self.sitting.startup_seconds

    @property
    def prices(self) -> Prices:
        """What it is paid with."""
        return Prices.of(self.facts)
