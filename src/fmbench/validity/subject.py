"""One experiment as the checks see it, and what their answers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fmbench.metrics import Sample
from fmbench.metrics.sample import Numbers
from fmbench.validity.check import Check, Verdict

__all__ = ["Subject", "check", "graded", "mean_in_flight"]

SHARED_HOST_ALLOWANCE = 10
"""On a host shared with the engine the scheduler adds to what a limit is set to: only so many times the limit fails."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One experiment, as the checks see it.

    Args:
        experiment: Its name.
        sample: Its records and windows.
        status: ``pending | measured | stopped | not_sent | partial``.
        reason: Why it was not measured in full.
        planned: How many requests were planned, warm-up included; ``None`` where only time ends them.
        ended: Whether the run ended by itself, so that each planned request must have its record.
        load: The load's type and fields, as ``run.json`` has them.
        streams: A closed load's level; ``None`` for an open one.
        max_new_tokens: The length asked for, where a record does not tell its own.
        exact_length: Whether no reply was to end before the length asked for.
        shared_host: Whether engine and client share a machine.
        clock_step_seconds: The greatest step of the mapping between the kernel's clock and ours.
        write_delay_seconds: How long after ``sent`` the kernel had the request, at the 99th percentile.
        cpu: ``process_seconds``, ``wall_seconds``, ``pressure_percent`` of the measuring process.
        queue: How long its thread waited for a processor: ``waited_seconds``, ``ran_seconds``.
        loop_lag: How late its loop came: ``p50_ns``, ``p99_ns``, ``max_ns``.
        workers: What became of each worker process, where there were several.
    """

    experiment: str
    sample: Sample
    status: str = "measured"
    reason: str | None = None
    planned: int | None = None
    ended: bool = True
    load: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    streams: int | None = None
    max_new_tokens: int | None = None
    exact_length: bool = False
    shared_host: bool = False
    clock_step_seconds: float | None = None
    write_delay_seconds: float | None = None
    cpu: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    queue: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    loop_lag: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    workers: tuple[Mapping[str, Any], ...] = ()

    @property
    def allowance(self) -> float:
        """How many times a limit on the client's own scheduling is stretched before it fails."""
        return SHARED_HOST_ALLOWANCE if self.shared_host else 1

    @property
    def loop_lag_seconds(self) -> float | None:
        """The 99th percentile of the loop's lag."""
        lag: int | None = self.loop_lag.get("p99_ns")
        return None if lag is None else lag / 1e9


def check(  # noqa: PLR0917 - a row of a table
    name: str, verdict: Verdict, finding: str, figure: float | None, limit: float | None, remedy: str
) -> Check:
    """A check's answer; one that passes needs no remedy."""
    return Check(
        name=name, verdict=verdict, finding=finding, figure=figure, limit=limit, remedy="" if verdict == "pass" else remedy
    )


def graded(figure: float, warn: float, fail: float) -> Verdict:
    """The verdict on a figure that ought to be small."""
    return "fail" if figure > fail else "warn" if figure > warn else "pass"


def mean_in_flight(sample: Sample, ends_ns: Numbers, begins_ns: Numbers | None = None) -> float | None:
    """The time-averaged number of requests in flight over the windows; ``None`` where these have no length.

    Args:
        sample: Whose requests; warm-up counts, since it occupies the endpoint too.
        ends_ns: When each was over.
        begins_ns: When each began; when it was sent, where it is not given.
    """
    if not sample.window_seconds > 0:
        return None
    begins_ns = sample.numbers("sent_ns") if begins_ns is None else begins_ns
    total = 0.0
    for start, end in sample.windows:
        inside = np.minimum(ends_ns, end) - np.maximum(begins_ns, start)
        total += float(np.nansum(np.maximum(inside, 0)))
    return total / 1e9 / sample.window_seconds
