"""The checks, each a pure function of one experiment as it was measured."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np

from fmbench.metrics import MOST_ERRORS, QUANTILES, requests_needed
from fmbench.metrics.formulas import coalesced_share, count_by_status, error_rate
from fmbench.validity import client, keeping, lengths, steadiness
from fmbench.validity.check import Check, Verdict
from fmbench.validity.subject import Subject, check, graded

__all__ = ["Subject", "assess", "on_this_host", "shared_host"]

COALESCED = (0.005, 0.05)
"""The share of arrivals that are coalesced: above the first a warning, above the second a failure."""


def assess(subjects: Iterable[Subject]) -> tuple[Check, ...]:
    """All checks of all experiments, in their order."""
    return tuple(
        replace(found, experiment=subject.experiment)
        for subject in subjects
        for look in CHECKS
        if (found := look(subject)) is not None
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


def measured(subject: Subject) -> Check | None:
    """Was it measured at all, and to its end?"""
    if subject.status == "measured":
        return check("measured", "pass", "measured to its end", None, None, "")
    why = subject.reason or "the run ended before"
    verdict: Verdict = "warn" if subject.status == "partial" else "fail"
    return check(
        "measured", verdict, f"{subject.status.replace('_', ' ')}: {why}", None, None, "see the reason, and measure again"
    )


def accounting(subject: Subject) -> Check | None:
    """Does each planned request have exactly one record?"""
    counts = count_by_status(subject.sample)
    records, distinct = len(subject.sample), subject.sample.distinct("id")
    planned = records if subject.planned is None else subject.planned
    told = f"{records} records of {planned} planned requests: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    if records == planned and distinct == records:
        return check("accounting", "pass", told, records, planned, "")
    if records < planned and not subject.ended:
        return check("accounting", "warn", f"{told}; the run was killed", records, planned, "resume the run")
    repeated = f"; {records - distinct} of them repeated" if distinct < records else ""
    return check("accounting", "fail", told + repeated, records, planned, "the records are damaged: measure again")


def percentile_requests(subject: Subject) -> Check | None:
    """Are there requests enough for every percentile?"""
    requests = int(subject.sample.counted.sum())
    if not requests:
        return _no_request(subject)
    missing = [q for q in QUANTILES if requests < requests_needed(q)]
    if not missing:
        return check("percentile_requests", "pass", f"{requests} requests", requests, requests_needed(QUANTILES[-1]), "")
    names = " and ".join(f"p{q * 100:g} (needs {requests_needed(q)})" for q in missing)
    finding = f"{requests} successful requests are too few for {names}: reported as unknown"
    remedy = f"measure at least {requests_needed(missing[-1])} requests"
    return check("percentile_requests", "warn", finding, requests, requests_needed(missing[0]), remedy)


def _no_request(subject: Subject) -> Check | None:
    if subject.status in ("pending", "not_sent"):
        return None  # `measured` tells why
    finding = subject.sample.why_nothing("")
    return check("percentile_requests", "fail", finding, 0, requests_needed(QUANTILES[0]), "see the errors in the records")


def errors(subject: Subject) -> Check | None:
    """How many requests failed?"""
    rate = error_rate(subject.sample)
    if rate.value is None:
        return None
    finding = f"{rate.value:.1%} of the requests failed"
    return check(
        "error_rate", graded(rate.value, 0, MOST_ERRORS), finding, rate.value, 0.0, "see the errors by kind in the records"
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
    return check("unfinished", graded(share, 0, MOST_ERRORS), finding, share, 0.0, remedy)


def coalesced(subject: Subject) -> Check | None:
    """How many arrivals have no time of their own?"""
    share = coalesced_share(subject.sample).value
    if share is None:
        return None
    warn, fail = COALESCED
    finding = f"{share:.2%} of the arrivals shared a read with a later one and are left out of TTFT and ITL"
    remedy = (
        "the server sends several tokens at once, or the client is short of time: give it a core of its own, or lower the load"
    )
    return check("coalesced", graded(share, warn, fail * subject.allowance), finding, share, warn, remedy)


def prompt_repetition(subject: Subject) -> Check | None:
    """Were prompts sent more than once, so that the server may have remembered them?"""
    sample = subject.sample
    sent = sample.due & ~sample.among("status", "not_sent")
    if not sent.any():
        return None
    share = 1 - sample.distinct("prompt_id", sent) / int(sent.sum())
    finding = f"{share:.0%} of the requests repeated an earlier prompt"
    remedy = "a server that caches prompts answers those sooner: give at least as many prompts as requests"
    return check("prompt_repetition", "warn" if share else "pass", finding, share, 0.0, remedy)


def cached_tokens(subject: Subject) -> Check | None:
    """Did the server take prompts from its cache?"""
    sample = subject.sample
    cached, prompt = (sample.numbers(column) for column in ("cached_tokens", "prompt_tokens"))
    told = sample.counted & ~np.isnan(cached) & ~np.isnan(prompt)
    if not prompt[told].sum():
        return None
    share = float(cached[told].sum() / prompt[told].sum())
    finding = f"the server had {share:.1%} of the prompt tokens cached"
    if sample.groups("session") is not None:
        # What a conversation has said before is meant to be cached; its first turn is a prompt like any other.
        first = told & (sample.numbers("turn") == 1)
        share = float(cached[first].sum() / prompt[first].sum()) if prompt[first].sum() else 0.0
        finding += f", and {share:.1%} of those of first turns"
    remedy = (
        "prompts without a common beginning would take longer: switch prefix caching off, or see that production is like this"
    )
    return check("cached_tokens", "warn" if share else "pass", finding, share, 0.0, remedy)


def completion_tokens_source(subject: Subject) -> Check | None:
    """Were tokens counted, or guessed?"""
    sample = subject.sample
    if not sample.counted.any():
        return None
    counted = int(sample.counted.sum())
    shares = {
        source: int((sample.counted & sample.among("completion_tokens_source", source)).sum()) / counted
        for source in ("server", "tokenizer", "estimated")
    }
    share = shares["estimated"]
    told = ", ".join(f"{part:.0%} {source}" for source, part in shares.items() if part)
    finding = f"the replies' lengths are by: {told or 'nobody'}"
    remedy = "the server reports no usage: give a tokenizer, for TPOT and every tokens-a-second figure stands on these"
    return check("completion_tokens_source", "warn" if share else "pass", finding, share, 0.0, remedy)


CHECKS: tuple[Callable[[Subject], Check | None], ...] = (
    measured,
    accounting,
    client.workers,
    errors,
    unfinished,
    percentile_requests,
    keeping.schedule_slip,
    keeping.achieved_concurrency,
    keeping.achieved_rate,
    keeping.littles_law,
    steadiness.steady_state,
    steadiness.growing_queue,
    client.error_bound,
    client.kernel_stamps,
    coalesced,
    client.delay,
    client.loop_lag,
    client.clock_mapping,
    client.client_cpu,
    client.core_contention,
    client.host_pressure,
    prompt_repetition,
    cached_tokens,
    completion_tokens_source,
    lengths.output_length,
)
"""In the order in which they are told."""
