"""The checks, each a pure function of one experiment as it was measured."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import numpy as np

from fmbench.metrics import MOST_ERRORS, QUANTILES, Sample, requests_needed
from fmbench.metrics.formulas import client_delay, count_by_status, error_rate
from fmbench.validity.check import Check, Verdict

__all__ = ["Subject", "assess", "on_this_host", "shared_host"]

DELAY_SECONDS = (0.001, 0.005)
"""Client delay (99th percentile): above the first a warning, above the second a failure."""

COALESCED = (0.005, 0.05)
"""The same for the share of arrivals that are coalesced."""

SHARED_HOST_ALLOWANCE = 10
"""On a host shared with the engine the scheduler adds to both, as ``shared_host`` says: only so many times the limit fails."""

CLOCK_STEP_SECONDS = 100e-6
"""How far the mapping between the kernel's clock and ours may step between two of its samples."""

BUSY = 0.8
"""The share of one core above which the measuring process counts as busy."""

SHORT = 0.9
"""The mean length of the replies, as a share of the length asked for, below which they count as short."""


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
        max_new_tokens: The length asked for, for all requests alike.
        shared_host: Whether engine and client share a machine.
        clock_step_seconds: The greatest step of the mapping between the kernel's clock and ours.
        cpu_share: How much of one core the measuring process took.
    """

    experiment: str
    sample: Sample
    status: str = "measured"
    reason: str | None = None
    planned: int | None = None
    ended: bool = True
    max_new_tokens: int | None = None
    shared_host: bool = False
    clock_step_seconds: float | None = None
    cpu_share: float | None = None

    @property
    def allowance(self) -> float:
        """How many times a limit on the client's own scheduling is stretched before it fails."""
        return SHARED_HOST_ALLOWANCE if self.shared_host else 1


def assess(subjects: Iterable[Subject]) -> tuple[Check, ...]:
    """All checks of all experiments, in their order."""
    return tuple(
        replace(check, experiment=subject.experiment)
        for subject in subjects
        for look in CHECKS
        if (check := look(subject)) is not None
    )


def on_this_host(url: str) -> bool:
    """Whether an address is this machine's own loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def shared_host(deployments: Sequence[str], shared: Sequence[str]) -> Check:
    """Whether endpoints share the client's machine; the one check that is the run's.

    Args:
        deployments: All of them.
        shared: Those that do.
    """
    if not shared:
        return Check(name="shared_host", verdict="pass", finding="no endpoint shares this machine", figure=0.0, limit=0.0)
    return Check(
        name="shared_host",
        verdict="warn",
        finding=f"{', '.join(shared)} on the machine that measures: the two take each other's time",
        figure=len(shared) / len(deployments),
        limit=0.0,
        remedy="compare such endpoints only with each other, or measure from another machine",
    )


def _check(  # noqa: PLR0917 - a row of a table
    name: str, verdict: Verdict, finding: str, figure: float | None, limit: float | None, remedy: str
) -> Check:
    return Check(
        name=name, verdict=verdict, finding=finding, figure=figure, limit=limit, remedy="" if verdict == "pass" else remedy
    )


def _graded(figure: float, warn: float, fail: float) -> Verdict:
    return "fail" if figure > fail else "warn" if figure > warn else "pass"


def measured(subject: Subject) -> Check | None:
    """Was it measured at all, and to its end?"""
    if subject.status == "measured":
        return _check("measured", "pass", "measured to its end", None, None, "")
    why = subject.reason or "the run ended before"
    verdict: Verdict = "warn" if subject.status == "partial" else "fail"
    return _check(
        "measured", verdict, f"{subject.status.replace('_', ' ')}: {why}", None, None, "see the reason, and measure again"
    )


def accounting(subject: Subject) -> Check | None:
    """Does each planned request have exactly one record?"""
    counts = count_by_status(subject.sample)
    records, distinct = len(subject.sample), subject.sample.table.column("id").combine_chunks().unique()
    planned = records if subject.planned is None else subject.planned
    told = f"{records} records of {planned} planned requests: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    if records == planned and len(distinct) == records:
        return _check("accounting", "pass", told, records, planned, "")
    if records < planned and not subject.ended:
        return _check("accounting", "warn", f"{told}; the run was killed", records, planned, "resume the run")
    repeated = f"; {records - len(distinct)} of them repeated" if len(distinct) < records else ""
    return _check("accounting", "fail", told + repeated, records, planned, "the records are damaged: measure again")


def percentile_requests(subject: Subject) -> Check | None:
    """Are there requests enough for every percentile?"""
    requests = int(subject.sample.counted.sum())
    if not requests:
        return _no_request(subject)
    missing = [q for q in QUANTILES if requests < requests_needed(q)]
    if not missing:
        return _check("percentile_requests", "pass", f"{requests} requests", requests, requests_needed(QUANTILES[-1]), "")
    names = " and ".join(f"p{q * 100:g} (needs {requests_needed(q)})" for q in missing)
    finding = f"{requests} successful requests are too few for {names}: reported as unknown"
    remedy = f"measure at least {requests_needed(missing[-1])} requests"
    return _check("percentile_requests", "warn", finding, requests, requests_needed(missing[0]), remedy)


def _no_request(subject: Subject) -> Check | None:
    if subject.status in ("pending", "not_sent"):
        return None  # `measured` tells why
    finding = subject.sample.why_nothing("")
    return _check("percentile_requests", "fail", finding, 0, requests_needed(QUANTILES[0]), "see the errors in the records")


def errors(subject: Subject) -> Check | None:
    """How many requests failed?"""
    rate = error_rate(subject.sample)
    if rate.value is None:
        return None
    finding = f"{rate.value:.1%} of the requests failed"
    return _check(
        "error_rate", _graded(rate.value, 0, MOST_ERRORS), finding, rate.value, 0.0, "see the errors by kind in the records"
    )


def unfinished(subject: Subject) -> Check | None:
    """How many requests were cancelled, so that the slowest may be missing from the latencies?"""
    due = subject.sample.due & ~subject.sample.among("status", "not_sent")
    if not due.any():
        return None
    share = float((due & subject.sample.among("status", "cancelled")).sum() / due.sum())
    finding = f"{share:.1%} of the requests were still in flight when the drain ended: the latencies leave out the slowest"
    remedy = "raise drain_seconds above the longest reply, or lower the load"
    if not share:
        finding = "every request that was sent came to its end"
    return _check("unfinished", _graded(share, 0, MOST_ERRORS), finding, share, 0.0, remedy)


def delay(subject: Subject) -> Check | None:
    """How late did the client read what the kernel had?"""
    seen = client_delay(subject.sample)
    if not seen.count:
        return None
    figure = float(np.quantile(seen.values, 0.99))
    warn, fail = DELAY_SECONDS
    finding = f"the reader came up to {figure * 1e3:.3g} ms after the kernel (99th percentile of each request's worst)"
    remedy = (
        "the arrival times are the kernel's and do not hold this, but the client is short of time: give it a core of its own"
    )
    return _check("client_delay", _graded(figure, warn, fail * subject.allowance), finding, figure, warn, remedy)


def kernel_stamps(subject: Subject) -> Check | None:
    """Were arrivals stamped by the kernel?"""
    counted = subject.sample.counted
    if not counted.any():
        return None
    share = float((counted & subject.sample.among("clock", "kernel")).sum() / counted.sum())
    finding = f"{share:.0%} of the requests have kernel arrival times"
    remedy = "the others were stamped when the client came round to reading: use an invoker on fmbench.wire, on Linux"
    return _check("kernel_stamps", "pass" if share == 1 else "warn", finding, share, 1.0, remedy)


def coalesced(subject: Subject) -> Check | None:
    """How many arrivals have no time of their own?"""
    sample = subject.sample
    arrivals = sample.arrivals
    mine = (sample.counted & sample.among("streamed", True))[arrivals.rows]
    if not mine.any():
        return None
    share = float(arrivals.coalesced[mine].mean())
    warn, fail = COALESCED
    finding = f"{share:.2%} of the arrivals shared a read with a later one and are left out of TTFT and ITL"
    remedy = (
        "the server sends several tokens at once, or the client is short of time: give it a core of its own, or lower the load"
    )
    return _check("coalesced", _graded(share, warn, fail * subject.allowance), finding, share, warn, remedy)


def clock_mapping(subject: Subject) -> Check | None:
    """Did the kernel's clock and ours run apart?"""
    step = subject.clock_step_seconds
    if step is None:
        return None
    finding = f"the mapping from the kernel's clock to ours stepped by at most {step * 1e6:.3g} µs"
    remedy = "the wall clock was set, or slewed hard, during the measurement: let time synchronisation settle and measure again"
    return _check("clock_mapping", _graded(step, CLOCK_STEP_SECONDS, np.inf), finding, step, CLOCK_STEP_SECONDS, remedy)


def client_cpu(subject: Subject) -> Check | None:
    """Was the measuring process near the end of its core?"""
    share = subject.cpu_share
    if share is None:
        return None
    finding = f"the measuring process took {share:.0%} of a core"
    remedy = "it is near its limit: lower the load, or measure from a faster machine"
    return _check("client_cpu", _graded(share, BUSY, np.inf), finding, share, BUSY, remedy)


def prompt_repetition(subject: Subject) -> Check | None:
    """Were prompts sent more than once, so that the server may have remembered them?"""
    sample = subject.sample
    sent = sample.due & ~sample.among("status", "not_sent")
    if not sent.any():
        return None
    prompts = sample.table.column("prompt_id").to_numpy()[sent]
    share = 1 - len(np.unique(prompts.astype(str))) / len(prompts)
    finding = f"{share:.0%} of the requests repeated an earlier prompt"
    remedy = "a server that caches prompts answers those sooner: give at least as many prompts as requests"
    return _check("prompt_repetition", "warn" if share else "pass", finding, share, 0.0, remedy)


def cached_tokens(subject: Subject) -> Check | None:
    """Did the server take prompts from its cache?"""
    sample = subject.sample
    cached, prompt = (sample.numbers(column)[sample.counted] for column in ("cached_tokens", "prompt_tokens"))
    told = ~np.isnan(cached) & ~np.isnan(prompt)
    if not prompt[told].sum():
        return None
    share = float(cached[told].sum() / prompt[told].sum())
    finding = f"the server had {share:.1%} of the prompt tokens cached"
    remedy = (
        "prompts without a common beginning would take longer: switch prefix caching off, or see that production is like this"
    )
    return _check("cached_tokens", "warn" if share else "pass", finding, share, 0.0, remedy)


def completion_tokens_source(subject: Subject) -> Check | None:
    """Were tokens counted, or guessed?"""
    sample = subject.sample
    if not sample.counted.any():
        return None
    share = float((sample.counted & sample.among("completion_tokens_source", "estimated")).sum() / sample.counted.sum())
    finding = f"{share:.0%} of the replies' lengths are estimates"
    remedy = "the server reports no usage: give a tokenizer, for TPOT and every tokens-a-second figure stands on these"
    return _check("completion_tokens_source", "warn" if share else "pass", finding, share, 0.0, remedy)


def output_length(subject: Subject) -> Check | None:
    """Were the replies as long as asked for?"""
    asked, sample = subject.max_new_tokens, subject.sample
    lengths = sample.numbers("completion_tokens")[sample.counted]
    lengths = lengths[~np.isnan(lengths)]
    if asked is None or not len(lengths):
        return None
    ratio = float(lengths.mean() / asked)
    finding = (
        f"the replies had {lengths.mean():.4g} tokens of the {asked} asked for, {lengths.min():.0f} to {lengths.max():.0f}"
    )
    remedy = "longer or shorter replies are slower or faster ones: compare only endpoints whose replies are alike in length"
    verdict: Verdict = "pass" if ratio >= SHORT and lengths.max() <= asked else "warn"
    return _check("output_length", verdict, finding, ratio, SHORT, remedy)


CHECKS: tuple[Callable[[Subject], Check | None], ...] = (
    measured,
    accounting,
    errors,
    unfinished,
    percentile_requests,
    kernel_stamps,
    coalesced,
    delay,
    clock_mapping,
    client_cpu,
    prompt_repetition,
    cached_tokens,
    completion_tokens_source,
    output_length,
)
"""In the order in which they are told."""
