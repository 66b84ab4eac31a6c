"""An experiment as a comparison looks at it: its requests as columns, in the order in which they were due."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmbench.advice.observed import Observed, Spread, Workload
from fmbench.metrics import Sample, formulas

if TYPE_CHECKING:
    from fmbench.result.experiment import Experiment
    from fmbench.result.result import Result

__all__ = ["observed"]

_LATENCIES = {
    "latency": formulas.latency_seconds_of,
    "response_latency": formulas.response_seconds_of,
    "service_latency": formulas.service_seconds_of,
    "ttft": formulas.ttft_seconds_of,
    "tpot": formulas.tpot_seconds_of,
}
_FIGURES = ("tps", "output_throughput", "error_rate")
_MOST_GAPS = 4_000_000
"""Of more gaps than these, evenly spaced ones say how sure a quantile is; the quantile itself is that of all."""


def observed(result: Result) -> tuple[Observed, ...]:
    """Every experiment of a result."""
    digests = {one.get("name"): one.get("sha256") for one in result.prompt_sets}
    return tuple(_observed(one, digests.get(one.prompts), str(result.directory)) for one in result.experiments)


def _observed(one: Experiment, digest: str | None, run: str) -> Observed:
    sample = one.sample()
    places = _places(sample)
    reasons = one.reasons
    return Observed(
        name=one.name,
        run=run,
        deployment=one.deployment,
        workload=Workload(prompts=one.prompts, prompts_digest=digest, parameters=one.parameters, load=one.load_fields),
        facts=one.facts,
        verdict=one.verdict,
        reason=None if one.status == "measured" else one.reason or one.status.replace("_", " "),
        keys=_keys(sample, places),
        spreads={name: _spread(sample, places, seconds_of(sample)) for name, seconds_of in _LATENCIES.items()}
        | {"itl": _gaps(sample, places)},
        distributions={name: getattr(one, name) for name in (*_LATENCIES, "itl", "completion_tokens")},
        figures={name: getattr(one, name) for name in _FIGURES},
        reasons=reasons,
        ended=sample.among("status", "ok", "error", "timeout")[places],
        failed=sample.among("status", "error", "timeout")[places],
        in_flight=_in_flight(sample, places),
        turns=_since_the_last(sample) if sample.open_load else _in_their_slots(sample, places),
        turns_paired=not sample.open_load,
    )


def _places(sample: Sample) -> NDArray[np.int64]:
    """The records of the requests that were due in a window and sent, in the order in which they were due."""
    rows = np.flatnonzero(sample.due & ~sample.among("status", "not_sent"))
    return rows[np.argsort(sample.numbers("due_ns")[rows], kind="stable")]


def _keys(sample: Sample, places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each request's prompt and for which time it was sent."""
    ids = [prompt for batch in sample.batches() for prompt in batch.column("prompt_id").to_pylist()]
    known: dict[Any, int] = {}
    codes = np.array([known.setdefault(ids[place], len(known)) for place in places.tolist()], dtype=np.int64)
    numbers = [int.from_bytes(blake2b(str(prompt).encode(), digest_size=8).digest(), "big") for prompt in known]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order], side="left")
    times = np.empty(len(codes), dtype=np.uint64)
    times[order] = (np.arange(len(codes)) - starts).astype(np.uint64)
    # An odd factor: no two of one prompt's times fall together.
    return np.array(numbers, dtype=np.uint64)[codes] ^ (times * np.uint64(0x9E3779B97F4A7C15))


def _spread(sample: Sample, places: NDArray[np.int64], seconds: NDArray[np.float64]) -> Spread:
    mine = seconds[places]
    known = sample.counted[places] & ~np.isnan(mine)
    return Spread(mine[known], np.flatnonzero(known))


def _gaps(sample: Sample, places: NDArray[np.int64]) -> Spread:
    place_of = np.full(len(sample), -1, dtype=np.int64)
    place_of[places] = np.arange(len(places))
    chosen = sample.counted & (place_of >= 0)
    every = max(1, -(-int(sample.arrival_counts[chosen].sum()) // _MOST_GAPS))
    parts = [(np.empty(0), np.empty(0, dtype=np.int64))]
    for arrivals in sample.arrivals():
        gaps, counts = arrivals.gaps(chosen[arrivals.records])
        parts.append((gaps[::every] / 1e9, np.repeat(place_of[arrivals.records], counts)[::every]))
    return Spread(np.concatenate([gaps for gaps, _ in parts]), np.concatenate([mine for _, mine in parts]))


def _in_flight(sample: Sample, places: NDArray[np.int64]) -> float:
    """The time that all requests took together, over the time in which they did (Little's law)."""
    due, ends = sample.numbers("due_ns")[places], sample.numbers("end_ns")[places]
    taken = np.nan_to_num(ends - due)
    whole = float(np.nanmax(ends) - due.min()) if np.isfinite(ends).any() else 0.0
    return float(taken.sum()) / whole if whole > 0 else 1.0


def _in_their_slots(sample: Sample, places: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
    """A closed load's turns: each request holds its slot from its due time to its end, and then the next one is due."""
    ends, due = sample.numbers("end_ns")[places], sample.numbers("due_ns")[places]
    done = sample.counted[places]
    return {
        "replies": done.astype(np.float64),
        "tokens": np.where(done, np.nan_to_num(sample.numbers("completion_tokens")[places]), 0.0),
        "seconds": np.nan_to_num(ends - due) / 1e9,
    }


def _since_the_last(sample: Sample) -> Mapping[str, NDArray[np.float64]]:
    """An open load's turns: the time between one reply's end and the next one's, in the window."""
    ends = sample.numbers("end_ns")
    rows = np.flatnonzero(sample.among("status", "ok") & sample.inside(ends))
    rows = rows[np.argsort(ends[rows], kind="stable")]
    return {
        "replies": np.ones(max(0, len(rows) - 1)),
        "tokens": np.nan_to_num(sample.numbers("completion_tokens")[rows[1:]]),
        "seconds": np.diff(ends[rows]) / 1e9,
    }
