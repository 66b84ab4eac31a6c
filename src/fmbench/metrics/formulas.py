"""Every metric as a pure function of a sample. Latencies are over requests, rates over windows.

The functions that end in ``_of`` give one value a record (NaN where there is none); the others give the metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fmbench.metrics.arrivals import Arrivals
from fmbench.metrics.distribution import Distribution, Figure
from fmbench.metrics.limits import Limit, quantile_of
from fmbench.metrics.order import HELD, Passes, Spread
from fmbench.metrics.sample import LAST_NS, STATUSES, Batches, Booleans, Numbers, Sample

__all__ = [
    "client_delay",
    "coalesced_share",
    "completion_tokens",
    "count_by_status",
    "error_rate",
    "good_share",
    "goodput",
    "itl",
    "latency",
    "output_throughput",
    "prompt_tokens",
    "response_latency",
    "seconds_of",
    "service_latency",
    "token_throughput",
    "tpot",
    "tps",
    "ttft",
]

_SECONDS = "s"
_UNSTREAMED = "no reply was streamed, or every first token was coalesced"


def last_ns_of(sample: Sample) -> Numbers:
    """The last token's arrival; the last byte's for a reply that brought no token."""
    return sample.numbers(LAST_NS)


def service_seconds_of(sample: Sample) -> Numbers:
    """Last arrival - sent."""
    return (last_ns_of(sample) - sample.numbers("sent_ns")) / 1e9


def response_seconds_of(sample: Sample) -> Numbers:
    """Last arrival - due."""
    return (last_ns_of(sample) - sample.numbers("due_ns")) / 1e9


def latency_seconds_of(sample: Sample) -> Numbers:
    """The headline: from due under an open load, from sent under a closed one."""
    return response_seconds_of(sample) if sample.open_load else service_seconds_of(sample)


def ttft_seconds_of(sample: Sample) -> Numbers:
    """First token - sent, for streamed replies."""
    seconds = (sample.numbers("first_token_ns") - sample.numbers("sent_ns")) / 1e9
    return np.where(sample.among("streamed", True), seconds, np.nan)


def tpot_seconds_of(sample: Sample) -> Numbers:
    """(Service latency - TTFT) / (completion tokens - 1), for replies of at least two tokens."""
    tokens = sample.numbers("completion_tokens")
    gaps = np.where(tokens >= 2, tokens - 1, np.nan)
    return np.asarray((service_seconds_of(sample) - ttft_seconds_of(sample)) / gaps)


def tokens_per_second_of(sample: Sample) -> Numbers:
    """Completion tokens / service latency."""
    seconds = service_seconds_of(sample)
    return np.asarray(sample.numbers("completion_tokens") / np.where(seconds > 0, seconds, np.nan))


def client_delay_seconds_of(sample: Sample) -> Numbers:
    """The worst delay between the kernel's stamp and the reader's."""
    return sample.numbers("client_delay_ns") / 1e9


def prompt_tokens_of(sample: Sample) -> Numbers:
    """The prompt's length."""
    return sample.numbers("prompt_tokens")


def completion_tokens_of(sample: Sample) -> Numbers:
    """The reply's length."""
    return sample.numbers("completion_tokens")


def _counted_gaps(batches: Batches, counted: Booleans) -> Iterator[NDArray[np.int64]]:
    """The gaps in nanoseconds of the counted requests, some requests' at a time."""
    for arrivals in Arrivals.of(batches()):
        yield arrivals.gaps(counted[arrivals.records])[0]


def service_latency(sample: Sample) -> Distribution:
    """Latency from the moment of sending."""
    return sample.distribution(service_seconds_of, _SECONDS, "no reply had an arrival")


def response_latency(sample: Sample) -> Distribution:
    """Latency from the moment the request was due."""
    return sample.distribution(response_seconds_of, _SECONDS, "no reply had an arrival")


def latency(sample: Sample) -> Distribution:
    """The headline latency: response under an open load, service under a closed one."""
    return response_latency(sample) if sample.open_load else service_latency(sample)


def ttft(sample: Sample) -> Distribution:
    """Time to first token."""
    return sample.distribution(ttft_seconds_of, _SECONDS, _UNSTREAMED)


def tpot(sample: Sample) -> Distribution:
    """Time per output token after the first."""
    nothing = f"{_UNSTREAMED}, or none had two tokens or more"
    return sample.distribution(tpot_seconds_of, _SECONDS, nothing)


def itl(sample: Sample) -> Distribution:
    """Inter-token latency: the distribution is over gaps, and ``requests`` counts the requests that have one."""
    batches, counted = sample.batches, sample.counted
    spread, requests = Spread(), 0
    few: list[NDArray[np.int64]] = []
    for arrivals in sample.arrivals():
        gaps, counts = arrivals.gaps(counted[arrivals.records])
        spread.add(gaps)
        requests += int((counts > 0).sum())
        few = [*few, gaps] if spread.count <= HELD else []
    if not spread.count:
        nothing = "no reply was streamed in two arrivals or more that are not coalesced"
        return Distribution(np.empty(0), _SECONDS, reason=sample.why_nothing(nothing))
    values = np.concatenate(few) / 1e9 if few else Passes(lambda: _counted_gaps(batches, counted), spread)
    return Distribution(values, _SECONDS, requests=requests)


def token_throughput(sample: Sample) -> Distribution:
    """Tokens a second as one request saw them."""
    return sample.distribution(tokens_per_second_of, "tokens/s", "no reply's tokens were counted")


def client_delay(sample: Sample) -> Distribution:
    """The worst delay of each request between the kernel's stamp and the reader's: what peers add to their figures."""
    return sample.distribution(client_delay_seconds_of, _SECONDS, "the transport had no kernel time stamps")


def prompt_tokens(sample: Sample) -> Distribution:
    """The prompts' lengths."""
    return sample.distribution(prompt_tokens_of, "tokens", "no prompt's tokens were counted")


def completion_tokens(sample: Sample) -> Distribution:
    """The replies' lengths."""
    return sample.distribution(completion_tokens_of, "tokens", "no reply's tokens were counted")


def count_by_status(sample: Sample) -> dict[str, int]:
    """How many records, warm-up among them, ended in which way."""
    counts = {status: int(sample.among("status", status).sum()) for status in STATUSES}
    if sum(counts.values()) != len(sample):
        raise AssertionError(f"{len(sample)} records, but {counts}: a record has a status that is not known")
    return counts


def error_rate(sample: Sample) -> Figure:
    """The share of failed and timed-out requests among those due in the window that ended by themselves."""
    failed = int((sample.due & sample.among("status", "error", "timeout")).sum())
    ended = failed + int(sample.counted.sum())
    if not ended:
        return Figure(None, "1", sample.why_nothing("no request that was due in the window ended"))
    return Figure(failed / ended, "1")


LEAST_LATENCIES = 0.5
"""How many mean latencies a window must hold: below, replies to requests from before it would make up its rates."""


def held_latencies(sample: Sample) -> float | None:
    """How many mean service latencies the windows hold; ``None`` where no reply has one."""
    seconds = service_seconds_of(sample)[sample.counted]
    known = seconds[~np.isnan(seconds)]
    mean = float(known.mean()) if len(known) else 0.0
    return sample.window_seconds / mean if mean > 0 else None


def _per_second(sample: Sample, count: float, unit: str) -> Figure:
    if not len(sample):
        return Figure(None, unit, "no request was recorded")
    if not sample.window_seconds > 0:
        return Figure(None, unit, "the window has no length" if sample.windows else sample.why_nothing(""))
    if (held := held_latencies(sample)) is not None and held < LEAST_LATENCIES:
        return Figure(None, unit, f"the window is shorter than {LEAST_LATENCIES:g} mean latencies")
    return Figure(count / sample.window_seconds, unit)


def _completed(sample: Sample) -> Booleans:
    """Successful requests that ended in a window, whatever their phase: what the endpoint got done in it."""
    return sample.among("status", "ok") & sample.inside(sample.numbers("end_ns"))


def tps(sample: Sample) -> Figure:
    """Transactions a second: successful requests that ended in the window / its length."""
    return _per_second(sample, int(_completed(sample).sum()), "1/s")


def output_throughput(sample: Sample) -> Figure:
    """Completion tokens that arrived in the window / its length, those of replies broken off later among them."""
    tokens = sample.numbers("completion_tokens")
    if np.isnan(tokens[_completed(sample)]).any():
        return Figure(None, "tokens/s", "some replies' tokens were not counted")
    listed = ~sample.among("streamed", False) & (sample.arrival_counts > 0)
    whole = tokens[~listed & sample.inside(last_ns_of(sample))]
    streamed = (
        np.nansum(arrivals.tokens[listed[arrivals.records][arrivals.rows] & sample.inside(arrivals.times_ns)])
        for arrivals in sample.arrivals()
    )
    return _per_second(sample, math.fsum(streamed) + float(np.nansum(whole)), "tokens/s")


def coalesced_share(sample: Sample) -> Figure:
    """The share of the counted replies' arrivals that share a read with a later one, so that their time is not their own."""
    chosen = sample.counted & sample.among("streamed", True)
    shared = count = 0
    for arrivals in sample.arrivals():
        mine = arrivals.coalesced[chosen[arrivals.records][arrivals.rows]]
        shared, count = shared + int(mine.sum()), count + len(mine)
    if not count:
        return Figure(None, "1", sample.why_nothing("no reply was streamed"))
    return Figure(shared / count, "1")


_ONE_VALUE: Mapping[str, Callable[[Sample], Numbers]] = MappingProxyType(
    {
        "latency": latency_seconds_of,
        "response_latency": response_seconds_of,
        "service_latency": service_seconds_of,
        "ttft": ttft_seconds_of,
        "tpot": tpot_seconds_of,
    }
)


def seconds_of(sample: Sample, metric: str) -> Numbers:
    """One value a record of a metric that has one (``latency`` …, ``ttft``, ``tpot``; not ``itl``), NaN where there is none."""
    return _ONE_VALUE[metric](sample)


def itl_seconds_of(sample: Sample, statistic: str) -> Numbers:
    """A statistic of each successful request's own gaps."""
    values = np.full(len(sample), np.nan)
    for arrivals in sample.arrivals():
        gaps, counts = arrivals.gaps(sample.among("status", "ok")[arrivals.records])
        values[arrivals.records] = _of_each(gaps / 1e9, counts, statistic)
    return values


def _of_each(gaps: Numbers, counts: NDArray[np.int64], statistic: str) -> Numbers:
    """A statistic of the gaps of each record, which stand end to end."""
    rows = np.repeat(np.arange(len(counts)), counts)
    values = np.full(len(counts), np.nan)
    some = counts > 0
    q = quantile_of(statistic)
    if q is None:
        values[some] = np.bincount(rows, weights=gaps, minlength=len(counts))[some] / counts[some]
        return values
    ordered = gaps[np.lexsort((gaps, rows))]
    starts = (np.cumsum(counts) - counts)[some]
    places = (counts[some] - 1) * q
    below = np.floor(places).astype(np.int64)
    low, high = ordered[starts + below], ordered[starts + np.minimum(below + 1, counts[some] - 1)]
    values[some] = low + (high - low) * (places - below)
    return values


def _within(sample: Sample, limit: Limit) -> Booleans:
    """Which records keep to one limit. What is not known does not; a reply too short to have a gap does."""
    if limit.metric == "itl":
        short = sample.among("streamed", True) & (sample.arrival_counts <= 1)
        return (itl_seconds_of(sample, limit.statistic) <= limit.seconds) | short
    kept = _ONE_VALUE[limit.metric](sample) <= limit.seconds
    return kept | (sample.numbers("completion_tokens") <= 1) if limit.metric == "tpot" else kept


def _good(sample: Sample, limits: Sequence[Limit]) -> Booleans:
    good = sample.among("status", "ok")
    for limit in limits:
        good &= _within(sample, limit)
    return good


def _unanswerable(sample: Sample, limits: Sequence[Limit]) -> str | None:
    """Why these limits cannot be applied: they name a metric that no successful request has."""
    of_streams = [limit.metric for limit in limits if limit.metric in ("ttft", "itl", "tpot")]
    if of_streams and sample.counted.any() and not (sample.counted & sample.among("streamed", True)).any():
        return f"no reply was streamed, so no request has {of_streams[0].upper()}"
    return None


def goodput(sample: Sample, limits: Sequence[Limit]) -> Figure:
    """Successful requests that ended in the window, each of them within every limit / its length.

    Args:
        sample: The experiment.
        limits: The limits; without any, goodput is ``tps``.
    """
    reason = _unanswerable(sample, limits)
    if reason:
        return Figure(None, "1/s", reason)
    return _per_second(sample, int((_completed(sample) & _good(sample, limits)).sum()), "1/s")


def good_share(sample: Sample, limits: Sequence[Limit]) -> Figure:
    """The share of requests within every limit among those due in the window that were sent; failures are not within.

    Args:
        sample: The experiment.
        limits: The limits.
    """
    reason = _unanswerable(sample, limits)
    sent = sample.due & ~sample.among("status", "not_sent")
    if reason or not sent.any():
        return Figure(None, "1", reason or sample.why_nothing("no request was sent"))
    return Figure(float((sent & _good(sample, limits)).sum() / sent.sum()), "1")
