"""How much two measurements of one workload differ, and how much of that chance could bring."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmbench.advice.bootstrap import MOST_CELLS, block_length, draws, widening
from fmbench.advice.chance import fisher_tail, share_difference, student_tail
from fmbench.advice.observed import Observed
from fmbench.errors import ConfigError
from fmbench.metrics import quantile_of
from fmbench.metrics.laws import student_quantile

__all__ = ["METRICS", "Change", "Pair", "change_between_runs", "value_of"]

REPLICATES = 1000
METRICS = (
    *("latency_p50", "latency_p95", "ttft_p50", "ttft_p95", "tpot_p50", "itl_p95"),
    *("tps", "output_throughput", "error_rate"),
)
"""What is compared unless something else is named."""

_WORDS = {"response": "response_latency", "service": "service_latency"}
_TIMED = re.compile(r"(latency|response|service|ttft|itl|tpot)_(mean|p[1-9][0-9]?(?:_[0-9]*[1-9])?)(?:_seconds)?")
_RATES = {"tps": "replies", "output_throughput": "tokens"}
_FEWEST_PAIRED = 0.5
"""Where fewer of the requests than this share have a partner with their prompt, the two sides are drawn apart."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class Change(NamedTuple):
    """What became of one metric from the baseline to the candidate.

    Of a share (``error_rate``) the change is the difference, of everything else it is relative: 0.05 is 5 % more.
    """

    change: float
    low: float
    high: float
    worse: Callable[[float], float]
    """The probability that chance brings as much, were the truth no worse than a margin: of worse, by so much."""
    better: Callable[[float], float]
    """The same of better."""
    block_length: float | None = None
    blocks: float | None = None
    """How many blocks of that length the requests make."""


def parsed(metric: str) -> tuple[str, str]:
    """A metric's name as the spread and the statistic; a rate's with no statistic.

    Raises:
        ConfigError: there is none of that name.
    """
    if metric in (*_RATES, "error_rate"):
        return metric, ""
    found = _TIMED.fullmatch(metric.replace(".", "_"))
    if found is None:
        raise ConfigError(f"metric: {metric!r} is not known; give such as latency_p95, ttft_p50, itl_mean, tps, error_rate")
    return _WORDS.get(found[1], found[1]), found[2]


def value_of(side: Observed, metric: str) -> tuple[float | None, str | None]:
    """A metric's value, or why there is none."""
    name, statistic = parsed(metric)
    if not statistic:
        value = side.figures.get(name)
        return value, None if value is not None else side.reasons.get(name) or side.reason or "nothing was measured"
    distribution = side.distributions[name]
    q = quantile_of(statistic)
    value = distribution.mean if q is None else distribution.quantile(q)
    return value, None if value is not None else side.reason or distribution.why_none(q)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One side's requests and their places in the order in which they are drawn."""

    observed: Observed
    places: Places
    count: int


class _Draws(NamedTuple):
    """A series drawn anew."""

    drawn: Floats
    """How often each cell is drawn: a row a replicate."""
    places_per_cell: int
    scale: float
    """What a standard deviation over replicates is multiplied with."""


class Pair:
    """One experiment of the baseline and one of the candidate, drawn anew together.

    Where both sides had the same prompts, requests with one prompt are drawn together: a long prompt that is drawn twice is
    drawn twice on both sides, so that differences between prompts do not blur the one between the sides.

    Args:
        baseline: What is compared with.
        candidate: What is compared.
        confidence: Of the intervals.
        seed: For the draws.
    """

    def __init__(self, baseline: Observed, candidate: Observed, *, confidence: float, seed: int) -> None:
        self._confidence = confidence
        self._seed = seed
        (one, two), paired, count = _aligned(baseline.keys, candidate.keys)
        self.paired: bool = paired
        counts = (count, count) if self.paired else (len(baseline.keys), len(candidate.keys))
        self._sides = (_Side(baseline, one, counts[0]), _Side(candidate, two, counts[1]))
        self._neighbours = max(baseline.in_flight, candidate.in_flight)
        self._kept: dict[tuple[int, int, int], _Draws] = {}

    def change(self, metric: str) -> Change | None:
        """What became of a metric; ``None`` where it is not known on both sides, or is nought on one."""
        name, statistic = parsed(metric)
        if name == "error_rate":
            return self._failures()
        values = [value_of(side.observed, metric)[0] for side in self._sides]
        if None in values or not all(value and value > 0 for value in values):
            return None
        ratio = math.log(float(values[1] or 0) / float(values[0] or 0))
        if name in _RATES:
            turns = [_turns(side, _RATES[name]) for side in self._sides]
            paired = self.paired and all(side.observed.turns_paired for side in self._sides)
        else:
            turns = [_latencies(side, name, quantile_of(statistic)) for side in self._sides]
            paired = self.paired
        error, freedom, length = self._error(turns[0], turns[1], paired=paired)
        found = _relative(ratio, error, freedom, self._confidence, more_is_better=name in _RATES)
        return found._replace(block_length=length, blocks=freedom + 1)

    def _error(self, one: _Drawable, two: _Drawable, *, paired: bool) -> tuple[float, float, float]:
        """The standard error of the logarithm of two figures' ratio, its degrees of freedom, and the blocks' length."""
        if paired:
            both = two.influence - one.influence
            length = block_length(both, self._neighbours)
            again = self._draws(len(both), length, 0)
            logs = np.log(two.replicates(again)) - np.log(one.replicates(again))
            error = _deviation(logs) * again.scale * widening(both, length)
            return error, max(1.0, len(both) / length - 1), length
        variance, freedom, longest = 0.0, math.inf, 1.0
        for index, side in enumerate((one, two)):
            length = block_length(side.influence, self._neighbours)
            again = self._draws(len(side.influence), length, index)
            variance += (_deviation(np.log(side.replicates(again))) * again.scale * widening(side.influence, length)) ** 2
            freedom, longest = min(freedom, len(side.influence) / length - 1), max(longest, length)
        return math.sqrt(variance), max(1.0, freedom), longest

    def _draws(self, count: int, length: float, stream: int) -> _Draws:
        """Draws of a series; equal ones are made once."""
        per_cell = max(1, math.ceil(count / MOST_CELLS))
        cells = max(1, math.ceil(count / per_cell))
        whole = max(1, round(length / per_cell))
        if (key := (cells, whole, stream)) not in self._kept:
            generator = np.random.default_rng((self._seed, *key))
            drawn, scale = draws(cells, whole, REPLICATES, generator)
            self._kept = {key: _Draws(drawn, per_cell, scale)}
        return self._kept[key]

    def superiority(self, metric: str) -> float | None:
        """The probability that a request of the candidate takes longer than one of the baseline (Vargha and Delaney's A)."""
        name, statistic = parsed(metric)
        if not statistic or name == "itl":
            return None
        one, two = (np.sort(side.observed.spreads[name].values) for side in self._sides)
        if not len(one) or not len(two):
            return None
        below = np.searchsorted(one, two, side="left") + np.searchsorted(one, two, side="right")
        return float(below.mean() / 2 / len(one))

    def _failures(self) -> Change | None:
        counts = [(int(side.observed.failed.sum()), int(side.observed.ended.sum())) for side in self._sides]
        if not all(ended for _, ended in counts):
            return None
        # Failures come in bursts: as many independent requests as tell as much (the design effect of survey statistics).
        sizes = [ended / self._design_effect(side) for side, (_, ended) in zip(self._sides, counts, strict=True)]
        failed = [count * size / ended for (count, ended), size in zip(counts, sizes, strict=True)]
        z = NormalDist().inv_cdf((1 + self._confidence) / 2)
        low, high = share_difference((failed[0], failed[1]), (sizes[0], sizes[1]), z)
        whole_failed, whole = tuple(map(round, failed)), tuple(max(1, round(size)) for size in sizes)
        worse = fisher_tail((whole_failed[0], whole_failed[1]), (whole[0], whole[1]))
        better = fisher_tail((whole_failed[1], whole_failed[0]), (whole[1], whole[0]))
        change = counts[1][0] / counts[1][1] - counts[0][0] / counts[0][1]
        return Change(change, low, high, lambda _: worse, lambda _: better)

    def _design_effect(self, side: _Side) -> float:
        ended, failed = side.observed.ended.astype(np.float64), side.observed.failed.astype(np.float64)
        share = float(failed.sum() / ended.sum())
        if not 0 < share < 1:
            return 1.0
        rest = failed - share * ended
        length = block_length(rest, self._neighbours)
        again = self._draws(len(rest), length, 2)
        cells = np.arange(len(rest)) // again.places_per_cell
        shares = _quotient(again.drawn, cells, failed, ended)
        variance = (_deviation(shares) * again.scale * widening(rest, length)) ** 2
        return max(1.0, variance / (share * (1 - share) / float(ended.sum())))


class _Drawable(NamedTuple):
    """A figure that can be made again of any draw, and how much each place moves it."""

    influence: Numbers
    replicates: Callable[[_Draws], Numbers]


def _latencies(side: _Side, name: str, q: float | None) -> _Drawable:
    spread = side.observed.spreads[name]
    places = side.places[spread.places]
    values = spread.values
    # A quantile moves with the share of values above it; its density only scales that.
    moved = np.asarray(values / values.mean() - 1 if q is None else (values > np.quantile(values, q)) - (1 - q), np.float64)
    influence = _summed(places, moved, side.count) * (len(side.places) / len(places))
    return _Drawable(influence, lambda again: _replicated(spread.values, places // again.places_per_cell, again.drawn, q))


def _turns(side: _Side, what: str) -> _Drawable:
    turns = side.observed.turns
    brought, seconds = turns[what], turns["seconds"]
    places, count = (side.places, side.count) if side.observed.turns_paired else (np.arange(len(seconds)), len(seconds))
    influence = _summed(places, brought / brought.mean() - seconds / seconds.mean(), count)
    return _Drawable(influence, lambda again: _quotient(again.drawn, places // again.places_per_cell, brought, seconds))


def change_between_runs(metric: str, baseline: Sequence[float], candidate: Sequence[float], confidence: float) -> Change | None:
    """What became of a metric, where at least one side was measured more than once: Student's t over runs.

    Both sides' runs are taken to vary alike, so that one run on one side will do.
    """
    name, _ = parsed(metric)
    share = name == "error_rate"
    if not share and not all(value > 0 for value in (*baseline, *candidate)):
        return None
    one, two = (np.asarray(values, dtype=np.float64) if share else np.log(values) for values in (baseline, candidate))
    freedom = len(one) + len(two) - 2
    rest = float(((one - one.mean()) ** 2).sum() + ((two - two.mean()) ** 2).sum())
    error = math.sqrt(rest / freedom * (1 / len(one) + 1 / len(two)))
    difference = float(two.mean() - one.mean())
    if share:
        half = error * student_quantile((1 + confidence) / 2, freedom)
        tails = [_tail(sign * difference, error, freedom) for sign in (1, -1)]
        return Change(difference, difference - half, difference + half, lambda _: tails[0], lambda _: tails[1])
    return _relative(difference, error, freedom, confidence, more_is_better=name in _RATES)


def _relative(ratio: float, error: float, freedom: float, confidence: float, *, more_is_better: bool) -> Change:
    """A change out of the logarithm of a ratio and its standard error."""
    half = error * student_quantile((1 + confidence) / 2, freedom)

    def more(margin: float) -> float:
        return _tail(ratio - math.log1p(margin), error, freedom)

    def less(margin: float) -> float:
        return _tail(-ratio - math.log1p(margin), error, freedom)

    worse, better = (less, more) if more_is_better else (more, less)
    return Change(math.expm1(ratio), math.expm1(ratio - half), math.expm1(ratio + half), worse, better)


def _tail(beyond: float, error: float, freedom: float) -> float:
    if not error > 0:
        return 0.0 if beyond > 0 else 1.0
    return student_tail(beyond / error, freedom)


def _aligned(one: NDArray[np.uint64], two: NDArray[np.uint64]) -> tuple[tuple[Places, Places], bool, int]:
    """Each request's place in the order in which the sides are drawn; whether that is one order for both; how long it is."""
    order = np.argsort(one, kind="stable")
    at = np.clip(np.searchsorted(one[order], two), 0, max(0, len(one) - 1))
    partner = order[at] if len(one) else at
    found = one[partner] == two if len(one) else np.zeros(len(two), dtype=np.bool_)
    if not len(two) or found.mean() < _FEWEST_PAIRED:
        return (np.arange(len(one)), np.arange(len(two))), False, max(len(one), len(two))
    places = np.where(found, partner, len(one) + np.cumsum(~found) - 1)
    return (np.arange(len(one)), places), True, len(one) + int((~found).sum())


def _summed(places: Places, values: Numbers, count: int) -> Numbers:
    return np.asarray(np.bincount(places, values, count), dtype=np.float64)


def _quotient(drawn: Floats, cells: Places, over: Numbers, under: Numbers) -> Numbers:
    """The ratio of two sums in each replicate."""
    size = drawn.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((drawn @ np.bincount(cells, over, size)) / (drawn @ np.bincount(cells, under, size)))


def _replicated(values: Numbers, cells: Places, drawn: Floats, q: float | None) -> Numbers:
    """The mean, or a quantile, of each replicate."""
    if q is None:
        return _quotient(drawn, cells, values, np.ones(len(values)))
    order = np.argsort(values, kind="stable")
    values, cells = values[order], cells[order]
    heads, weights = _gathered(values, cells, drawn) if len(values) > 2 * MOST_CELLS else (values, drawn[:, cells])
    reached = np.cumsum(weights, axis=1, dtype=np.float64)
    index = (reached < q * reached[:, -1:]).sum(axis=1)
    return np.asarray(np.where(reached[:, -1] > 0, heads[np.minimum(index, len(heads) - 1)], np.nan))


def _gathered(values: Numbers, cells: Places, drawn: Floats) -> tuple[Numbers, Floats]:
    """Very many values, in groups of neighbours: fine ones, and finer to both ends."""
    count = len(values)
    ends = np.unique(np.rint(np.geomspace(1, count / 2, MOST_CELLS // 4)).astype(np.int64))
    edges = np.unique(np.concatenate([np.linspace(0, count, MOST_CELLS).astype(np.int64)[1:], ends, count - ends, [count]]))
    group = np.searchsorted(edges, np.arange(count), side="right")
    table = np.zeros((drawn.shape[1], len(edges)), dtype=np.float32)
    np.add.at(table, (cells, group), 1)
    return values[edges - 1], drawn @ table


def _deviation(values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0
