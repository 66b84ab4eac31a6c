"""Checks of the client: had it time enough, and how far off may its times be?"""

from __future__ import annotations

import numpy as np

from fmbench.metrics.formulas import client_delay, service_seconds_of, ttft_seconds_of
from fmbench.validity.check import Check, Verdict
from fmbench.validity.subject import Subject, check, graded

__all__ = [
    "client_cpu",
    "clock_mapping",
    "core_contention",
    "delay",
    "error_bound",
    "host_pressure",
    "kernel_stamps",
    "loop_lag",
    "workers",
]

DELAY_SECONDS = (0.001, 0.05)
"""Client delay (99th percentile): above the first a warning, above the second a failure."""

LAG_SECONDS = (0.005, 0.05)
"""The same for the loop's lag."""

ERROR_SECONDS = (0.0005, 0.005)
"""The same for the error of a single time; it fails only where it is also more than ``ERROR_SHARE`` of the median."""

ERROR_SHARE = 0.05

_BETTER = "use an invoker on fmbench.wire, on Linux, and give the client a core of its own"

CLOCK_STEP_SECONDS = 100e-6
"""How far the mapping between the kernel's clock and ours may step between two of its samples."""

BUSY = 0.8
"""The share of one core above which the measuring process counts as busy."""

CONTENDED = 0.2
"""The share of the time in which the measuring thread could run, and waited for a processor: above it the core is contended."""

CONTENDED_LEAST = 0.01
"""The share of all time that it must have waited for that: a thread that is nearly idle waits for next to nothing."""

PRESSURE = 0.25
"""The share of the time in which some task of the machine waited for a processor: above it the machine is short of them."""


def workers(subject: Subject) -> Check | None:
    """Did every worker process come to its end?"""
    if not subject.workers:
        return None
    died = [one for one in subject.workers if one.get("died")]
    if not died:
        return check("workers", "pass", f"{len(subject.workers)} workers came to their end", 0, 0, "")
    first = died[0]
    finding = f"{len(died)} of {len(subject.workers)} workers died (worker {first.get('worker')}: {first['died']})"
    remedy = "its streams fell silent, so the load was not the one asked for: see why it died, and measure again"
    return check("workers", "fail", finding, len(died), 0, remedy)


def loop_lag(subject: Subject) -> Check | None:
    """How late did the client's loop come to what was due?"""
    lag = subject.loop_lag_seconds
    if lag is None:
        return None
    finding = (
        f"the loop came up to {lag * 1e3:.3g} ms late (99th percentile; {subject.loop_lag['max_ns'] / 1e6:.3g} ms at worst)"
    )
    remedy = (
        "something blocked it, or the client is short of time: keep slow work out of `send` and of callbacks, lower the load"
    )
    return check(
        "loop_lag", graded(lag, LAG_SECONDS[0], LAG_SECONDS[1] * subject.allowance), finding, lag, LAG_SECONDS[0], remedy
    )


def core_contention(subject: Subject) -> Check | None:
    """Did the measuring thread have to wait for its processor?"""
    waited, ran, wall = subject.queue.get("waited_seconds"), subject.queue.get("ran_seconds"), subject.cpu.get("wall_seconds")
    if waited is None or ran is None or not wall or not waited + ran:
        return None
    share = waited / (waited + ran)
    verdict: Verdict = "warn" if share > CONTENDED and waited > CONTENDED_LEAST * wall else "pass"
    finding = f"the measuring thread waited for a processor in {share:.0%} of the time in which it could run ({waited:.3g} s)"
    remedy = "other processes took its core: stop them, or give fmbench a core of its own"
    return check("core_contention", verdict, finding, share, CONTENDED, remedy)


def host_pressure(subject: Subject) -> Check | None:
    """Was this machine short of processors?"""
    percent = subject.cpu.get("pressure_percent")
    if percent is None:
        return None
    share = percent / 100
    finding = f"some task of this machine waited for a processor {share:.0%} of the time"
    remedy = "measure from a machine that is idle otherwise; an engine on this one is slowed down too"
    return check("host_pressure", graded(share, PRESSURE, np.inf), finding, share, PRESSURE, remedy)


def client_cpu(subject: Subject) -> Check | None:
    """Was the measuring process near the end of its core?"""
    busy, wall = subject.cpu.get("process_seconds"), subject.cpu.get("wall_seconds")
    if busy is None or not wall:
        return None
    share = busy / wall
    finding = f"the measuring process took {share:.0%} of a core"
    remedy = "it is near its limit: lower the load, use more workers, or measure from a faster machine"
    return check("client_cpu", graded(share, BUSY, np.inf), finding, share, BUSY, remedy)


def delay(subject: Subject) -> Check | None:
    """How late did the client read what the kernel had?"""
    seen = client_delay(subject.sample)
    if not seen.count:
        return None
    figure = seen.curve([0.99])[0]
    finding = f"the reader came up to {figure * 1e3:.3g} ms after the kernel (99th percentile of each request's worst)"
    remedy = (
        "the arrival times are the kernel's and do not hold this, but the client is short of time: give it a core of its own"
    )
    return check(
        "client_delay",
        graded(figure, DELAY_SECONDS[0], DELAY_SECONDS[1] * subject.allowance),
        finding,
        figure,
        DELAY_SECONDS[0],
        remedy,
    )


def kernel_stamps(subject: Subject) -> Check | None:
    """Were arrivals stamped by the kernel?"""
    counted = subject.sample.counted
    if not counted.any():
        return None
    share = float((counted & subject.sample.among("clock", "kernel")).sum() / counted.sum())
    finding = f"{share:.0%} of the requests have kernel arrival times"
    remedy = "the others were stamped when the client came round to reading: use an invoker on fmbench.wire, on Linux"
    return check("kernel_stamps", "pass" if share == 1 else "warn", finding, share, 1.0, remedy)


def clock_mapping(subject: Subject) -> Check | None:
    """Did the kernel's clock and ours run apart?"""
    step = subject.clock_step_seconds
    if step is None:
        return None
    finding = f"the mapping from the kernel's clock to ours stepped by at most {step * 1e6:.3g} µs"
    remedy = "the wall clock was set, or slewed hard, during the measurement: let time synchronisation settle and measure again"
    return check("clock_mapping", graded(step, CLOCK_STEP_SECONDS, np.inf), finding, step, CLOCK_STEP_SECONDS, remedy)


def error_bound(subject: Subject) -> Check | None:
    """How far off may a single TTFT or latency be?"""
    sample = subject.sample
    counted = sample.counted
    if not counted.any():
        return None
    parts = {"writing": subject.write_delay_seconds, "clock": subject.clock_step_seconds}
    if (counted & sample.among("clock", "user")).any():
        if subject.loop_lag_seconds is None:
            return check("error_bound", "warn", "nothing tells how far off the times may be", None, ERROR_SECONDS[0], _BETTER)
        # Lags below the timers' grain are not seen.
        parts["reading"] = subject.loop_lag_seconds + subject.loop_lag.get("grain_ns", 0) / 1e9
    known = {name: seconds for name, seconds in parts.items() if seconds is not None}
    bound = sum(known.values())
    told = " + ".join(f"{name} {seconds * 1e6:.3g} µs" for name, seconds in known.items())
    finding = f"a single time is {bound * 1e6:.3g} µs off at most (99th percentiles{told and ': '}{told})"
    verdict = graded(bound, ERROR_SECONDS[0], max(ERROR_SECONDS[1], ERROR_SHARE * _median_seconds(subject)))
    if (counted & sample.among("sent_source", "entry")).any():
        finding += "; the adapter does not say when it sends, so its own work counts as the endpoint's"
        verdict = "warn" if verdict == "pass" else verdict
    return check("error_bound", verdict, finding, bound, ERROR_SECONDS[0], _BETTER)


def _median_seconds(subject: Subject) -> float:
    """The median TTFT, or the median latency where nothing was streamed."""
    for make in (ttft_seconds_of, service_seconds_of):
        values = make(subject.sample)[subject.sample.counted]
        known = values[~np.isnan(values)]
        if known.size:
            return float(np.sort(known)[known.size // 2])  # numpy's own median imports numpy.ma
    return 0.0
