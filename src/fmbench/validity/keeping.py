"""Checks of the load: was what was asked for also sent, and do the figures fit together?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics import Sample
from fmbench.metrics.formulas import last_ns_of, response_seconds_of, service_latency, tps
from fmbench.metrics.sample import Booleans, Numbers
from fmbench.validity.check import Check, Verdict
from fmbench.validity.subject import Subject, check, graded, mean_in_flight

__all__ = ["achieved_concurrency", "achieved_rate", "littles_law", "schedule_slip"]

SLIP_SECONDS = (0.0005, 0.01)
"""How late the client may send (99th percentile); it fails only where it is also more than ``SLIP_SHARE`` of the median."""

SLIP_SHARE = 0.05

HELD = (0.9, 0.5)
"""The mean number of requests in flight as a share of the number asked for: below the first a warning, below the second a
failure."""

SENT = (0.99, 0.9)
"""The same for the requests sent in the window as a share of those due in it."""

GRACE = 0.01
"""How long after the window a request may be sent to count, as a share of the window."""

LITTLE = (0.1, 0.25)
"""How far throughput x mean latency may be from the mean number in flight, as a share of it; what the ends of the window
may do to it is added."""

LEAST_FOR_LITTLE = 30
"""How many requests that needs."""


def schedule_slip(subject: Subject) -> Check | None:
    """How late were requests sent, and who kept them waiting?"""
    sample = subject.sample
    sent = sample.due & ~np.isnan(sample.numbers("sent_ns"))
    if not sample.open_load or not sent.any():
        return None
    slip = (sample.numbers("sent_ns") - sample.numbers("due_ns")) / 1e9
    adapter = sum(np.nan_to_num(sample.numbers(name)) for name in ("connect_ns", "tls_ns", "sign_ns")) / 1e9
    held = _held_back(subject) & sent
    own = (slip - adapter)[sent & ~held]
    figure = float(np.quantile(own, 0.99)) if len(own) else 0.0
    finding = f"requests were sent up to {figure * 1e3:.3g} ms after they were due (99th percentile)"
    verdict = graded(figure, SLIP_SECONDS[0], max(SLIP_SECONDS[1], SLIP_SHARE * _median(response_seconds_of(sample)[sent])))
    if held.any():
        worst = float(np.quantile(slip[held], 0.99))
        finding += f"; {held.sum() / sent.sum():.0%} more waited for a place under max_concurrency, up to {worst:.3g} s"
    remedy = "response latency holds this, but the load was not the one asked for: give the client a core of its own"
    return check("schedule_slip", verdict, finding, figure, SLIP_SECONDS[0], remedy)


def _held_back(subject: Subject) -> Booleans:
    """Which requests were due while as many as ``max_concurrency`` were in flight."""
    sample, most = subject.sample, subject.load.get("max_concurrency")
    if most is None:
        return np.zeros(len(sample), dtype=np.bool_)
    due, sent = sample.numbers("due_ns"), sample.numbers("sent_ns")
    held = np.zeros(len(sample), dtype=np.bool_)
    worker = sample.numbers("worker")
    workers = int(np.nanmax(worker, initial=0)) + 1
    for number in range(workers):
        mine = (worker == number) & ~np.isnan(sent)
        earlier = np.searchsorted(np.sort(due[mine]), due, side="left")  # those that wait, too, are ahead of it
        ended = np.searchsorted(np.sort(sample.numbers("end_ns")[mine]), due, side="right")
        held |= mine & (earlier - ended >= len(range(number, most, workers)))
    return held


def _median(values: Numbers) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmedian(values))


def achieved_concurrency(subject: Subject) -> Check | None:
    """Were as many requests in flight as asked for?"""
    sample, asked = subject.sample, subject.streams
    if asked is None or not sample.due.any():
        return None
    last = last_ns_of(sample)
    ends = np.where(np.isnan(last), sample.numbers("end_ns"), last)
    sessions = sample.groups("session")
    mean = mean_in_flight(sample, ends) if sessions is None else _mean_sessions(sample, sessions, ends)
    if mean is None:
        return None
    share = mean / asked
    what = "requests were in flight" if sessions is None else "sessions, pauses included, were under way"
    finding = f"{mean:.3g} {what} on average, of the {asked} asked for"
    remedy = (
        "the client took long between requests, or some streams ended long before the others: "
        "lower the load, give it a core of its own, or measure for longer"
    )
    return check("achieved_concurrency", graded(-share, *(-part for part in HELD)), finding, share, HELD[0], remedy)


def _mean_sessions(sample: Sample, sessions: NDArray[Any], ends_ns: Numbers) -> float | None:
    """The time-averaged number of sessions between their first turn's sending and their last one's end."""
    begins, ends = np.full(sessions.max() + 1, np.nan), np.full(sessions.max() + 1, np.nan)
    np.fmin.at(begins, sessions, sample.numbers("sent_ns"))
    np.fmax.at(ends, sessions, ends_ns)
    return mean_in_flight(sample, ends, begins)


def achieved_rate(subject: Subject) -> Check | None:
    """Was the rate asked for also offered, and did the endpoint keep up?"""
    sample = subject.sample
    seconds = sample.window_seconds
    if not sample.open_load or not seconds or not sample.due.any():
        return None
    offered = int(sample.due.sum())
    # A request due in the last moment may be sent a moment later: that is no matter of the rate.
    end_ns = max(end for _, end in sample.windows) + GRACE * seconds * 1e9
    sent = int((sample.due & (sample.numbers("sent_ns") <= end_ns)).sum())
    done = tps(sample)
    completed = f"{done.value:.4g} completed" if done.value is not None else f"completed not known ({done.reason})"
    asked = subject.load.get("per_second")
    rates = f"{offered / seconds:.4g} offered, {sent / seconds:.4g} sent, {completed}"
    finding = f"requests a second: {rates}" if asked is None else f"requests a second: {asked:g} asked for, {rates}"
    if asked is not None and sample.groups("session") is not None:
        finding = f"{asked:g} sessions a second were asked for; requests a second: {rates}"
    share = sent / offered
    remedy = "max_concurrency, or a client short of time, held requests back: raise the one, or lower the rate"
    return check("achieved_rate", graded(-share, *(-part for part in SENT)), finding, share, SENT[0], remedy)


def littles_law(subject: Subject) -> Check | None:
    """Do throughput, latency and the number in flight fit together?"""
    sample = subject.sample
    if int(sample.counted.sum()) < LEAST_FOR_LITTLE:
        return None
    latency, rate, mean = service_latency(sample), tps(sample).value, mean_in_flight(sample, sample.numbers("end_ns"))
    if latency.mean is None or rate is None or not mean:
        return None
    ratio = rate * latency.mean / mean
    # At either end of a window there are requests that are only partly in it: as many as are in flight.
    ends = latency.mean / sample.window_seconds
    off = abs(ratio - 1)
    verdict: Verdict = graded(off, LITTLE[0] + ends, LITTLE[1] + ends)
    finding = (
        f"throughput x mean latency is {rate * latency.mean:.3g}, and {mean:.3g} requests were in flight on average: "
        f"{off:.1%} apart"
    )
    remedy = (
        "some requests in flight are in neither figure (failed, cancelled, or read late by the client), "
        "or the window is too short or not steady"
    )
    return check("littles_law", verdict, finding, off, LITTLE[0] + ends, remedy)
