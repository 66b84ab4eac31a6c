"""Checks of the window: did what was measured hold still?"""

from __future__ import annotations

import numpy as np

from fmbench.metrics.formulas import LEAST_LATENCIES, held_latencies, latency_seconds_of, response_seconds_of
from fmbench.metrics.sample import Numbers
from fmbench.validity.check import Check, Verdict
from fmbench.validity.subject import Subject, check
from fmbench.validity.trend import CRITICAL, LEAST, drift, moves, rise, slope

__all__ = ["growing_queue", "steady_state"]

MOVED = 0.1
"""By how much of itself the mean latency must change from the first third of the window to the last, to be worth a word."""

GREW = 0.5
"""By how much of itself it must grow to be called a queue."""

BEHIND = 0.05
"""The growth of response latency, in seconds a second of the window, above which the endpoint falls behind."""

SHORT_WINDOW = 3
"""How many mean latencies a window must hold."""


def steady_state(subject: Subject) -> Check | None:
    """Did latency stay the same from the window's beginning to its end?"""
    sample = subject.sample
    if _varies(subject) or not sample.counted.any() or not sample.window_seconds > 0:
        return None
    held = held_latencies(sample)
    if held is not None and held < LEAST_LATENCIES:
        finding = f"the window holds only {held:.2g} mean latencies, so that it has no rates"
        remedy = "send more requests for each stream, or give seconds"
        return check("steady_state", "fail", finding, held, LEAST_LATENCIES, remedy)
    _, values = _in_time(subject, latency_seconds_of(sample), sample.counted)
    if len(values) < LEAST:
        return None
    change = rise(values)
    long = float(values.mean()) / sample.window_seconds * SHORT_WINDOW
    verdict: Verdict = "warn" if (moves(values) and abs(change) > MOVED) or long > 1 else "pass"
    finding = f"from the first third of the window to the last, mean latency changed by {change:+.1%}"
    if verdict == "warn" and long > 1:
        finding += f"; the window holds only {SHORT_WINDOW / long:.2g} mean latencies"
    elif verdict == "pass" and abs(change) > MOVED:
        finding += ", no more than it fluctuates"
    remedy = "give more warm-up requests, or measure for longer; prompts in the order of their length look like this too"
    return check("steady_state", verdict, finding, change, MOVED, remedy)


def growing_queue(subject: Subject) -> Check | None:
    """Did requests come faster than the endpoint took them, so that its queue grew?"""
    sample = subject.sample
    if not sample.open_load or _varies(subject):
        return None
    # A request that was given up had waited for so long at least: without it, the slowest would be missing.
    waited = (sample.numbers("end_ns") - sample.numbers("due_ns")) / 1e9
    response = np.where(sample.among("status", "ok"), response_seconds_of(sample), waited)
    times, values = _in_time(subject, response, sample.due & sample.among("status", "ok", "timeout", "cancelled"))
    if len(values) < LEAST:
        return None
    growth, speed = rise(values), slope(times, values)
    verdict: Verdict = "pass"
    if drift(values) > CRITICAL and growth > GREW:
        verdict = "fail" if speed > BEHIND else "warn"
    finding = f"response latency changed by {speed:+.2g} s a second, by {growth:+.0%} from the first third to the last"
    if verdict != "pass":
        finding += "; its percentiles tell how long the window was, not how fast the endpoint is"
    remedy = "offer less than the endpoint can take, or measure its capacity with a closed load"
    return check("growing_queue", verdict, finding, speed, BEHIND, remedy)


def _varies(subject: Subject) -> bool:
    """Whether the load itself changes, so that latency may."""
    return subject.sample.open_load and subject.load.get("per_second") is None


def _in_time(subject: Subject, values: Numbers, chosen: np.ndarray) -> tuple[Numbers, Numbers]:
    """Due times in seconds, and the values of the chosen requests that have one, in that order."""
    due = subject.sample.numbers("due_ns")
    rows = np.flatnonzero(chosen & ~np.isnan(values))
    times = due[rows]
    order = np.argsort(times, kind="stable")
    return times[order] / 1e9, values[rows][order]
