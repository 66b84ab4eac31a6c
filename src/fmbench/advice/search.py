"""The search for the highest load that keeps to an SLO: what to try next, from what was tried. Nothing is sent from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fmbench.advice.crossing import crossing_of
from fmbench.advice.evidence import Evidence
from fmbench.errors import ConfigError

__all__ = ["Estimate", "Probe", "Search", "Trial"]

_LIKELY = 0.9
_FAR = 1.5
_PROBES = 60
FOUNDED = 9
"""So many requests over the limit, were just as many over it as may be, must stand behind an answer."""
LONG = 2000
"""An open load's probe of fewer requests may pass before its queue has shown what it can do."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to try next."""

    load: float
    requests: int
    """Measured ones; warm-up comes on top."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried: a load, and what it said of each limit."""

    load: float
    requests: int
    evidence: tuple[Evidence, ...]

    @property
    def known(self) -> bool:
        """Whether it says something of each limit."""
        return all(one.requests for one in self.evidence)

    @property
    def leans(self) -> bool:
        """Whether every limit was kept, by however little."""
        return all(one.leans for one in self.evidence)

    def holds(self, confidence: float) -> bool | None:
        """Whether every limit is kept; ``None`` where the trial cannot tell."""
        verdicts = [one.holds(confidence) for one in self.evidence]
        return False if False in verdicts else None if None in verdicts else True


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where the SLO breaks, as far as the trials tell: loads, not yet rounded to whole ones."""

    low: float
    middle: float
    high: float
    slope: float
    limit: str
    """The limit that breaks first."""
    monotone: bool


Ending = Literal["found", "most", "unmet", "requests", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How to search.

    Args:
        whole: Whether loads are whole numbers, as concurrencies are.
        start: The load to begin with.
        least: The lowest load to try.
        most: The highest.
        requests: The measured requests of a first probe at a load.
        tolerance: The search ends when its interval reaches no further than this share of the answer on either side; for whole
            loads one is always near enough.
        confidence: The probability of that interval.
        max_requests: The search ends when its probes have had so many.
    """

    whole: bool
    start: float
    least: float
    most: float
    requests: int
    tolerance: float = 0.05
    confidence: float = 0.95
    max_requests: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.start <= self.most:
            raise ConfigError(f"capacity: start={self.start:g} must lie between {self.least:g} and {self.most:g}")
        if self.max_requests < 1:
            raise ConfigError(f"capacity: max_requests must be 1 or more, not {self.max_requests}")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"capacity: tolerance is a share between 0 and 1, not {self.tolerance:g}")
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"capacity: confidence lies between 0.5 and 1, not at {self.confidence:g}")

    def next(self, trials: Sequence[Trial]) -> Probe | Ending:
        """What to try next, or why the search is over.

        Args:
            trials: What was tried so far.
        """
        if not trials:
            return Probe(self.start, self._least_requests(self.start))
        if not trials[-1].known:
            return "unknown"
        step = self._bracket(trials) or self._refine(trials)
        if isinstance(step, str):
            return step
        left = self.max_requests - sum(trial.requests for trial in trials)
        if left < self._least_requests(step.load) or len(trials) >= _PROBES:
            return "requests"
        return Probe(step.load, min(step.requests, left))

    def estimate(self, trials: Sequence[Trial]) -> Estimate:
        """Where the SLO breaks: at the lowest of its limits' crossings."""
        names = [one.name for one in trials[0].evidence]
        found = {
            name: crossing_of([(trial.load, trial.evidence[place]) for trial in trials if trial.known], self.confidence)
            for place, name in enumerate(names)
        }
        first = min(found, key=lambda name: found[name].middle)
        return Estimate(
            low=min(one.low for one in found.values()),
            middle=found[first].middle,
            high=min(one.high for one in found.values()),
            slope=found[first].slope,
            limit=first,
            monotone=all(one.monotone for one in found.values()),
        )

    def resolved(self, estimate: Estimate) -> bool:
        """Whether the interval is narrow enough."""
        if not self.whole:
            return estimate.high <= estimate.middle * (1 + self.tolerance) and estimate.low >= estimate.middle * (
                1 - self.tolerance
            )
        low, middle, high = (math.floor(load) for load in (estimate.low, estimate.middle, estimate.high))
        return high - middle <= 1 and middle - low <= 1

    def _untried(self, trials: Sequence[Trial], found: Estimate) -> Probe | None:
        """The whole loads on both sides of the crossing are seen themselves, not only taken from their neighbours."""
        tried = {trial.load for trial in trials}
        last = float(math.floor(found.middle))
        for load in (last, last + 1) if self.whole else ():
            if load not in tried and self.least <= load <= self.most:
                return Probe(load, self._least_requests(load))
        return None

    def _founded(self, trials: Sequence[Trial], found: Estimate) -> bool:
        """Whether enough was seen just below the crossing: a steep response makes an interval narrow from next to nothing."""
        return _weighed(self._long(trials, found), found.limit) >= FOUNDED

    def _long(self, trials: Sequence[Trial], found: Estimate) -> list[Trial]:
        """The probes just below the crossing that are long beside what happens in a queue."""
        floor = math.floor(found.middle) if self.whole else found.middle * (1 - 2 * self.tolerance)
        near = [trial for trial in trials if floor <= trial.load <= found.middle]
        return [trial for trial in near if self.whole or trial.requests >= LONG]

    def _least_requests(self, load: float) -> int:
        """A closed load's streams each send several, so that they fall out of step."""
        return max(self.requests, round(10 * load)) if self.whole else self.requests

    # Doubling, and halving, until one load keeps to the SLO and another does not.

    def _bracket(self, trials: Sequence[Trial]) -> Probe | Ending | None:
        kept = [trial.load for trial in trials if trial.leans]
        broken = _broken(trials)
        if not broken:
            return self._up(max(kept), trials)
        if not kept:
            return self._down(min(broken), trials)
        high = min(broken)
        low = max((load for load in kept if load < high), default=None)
        if low is None:
            return self._down(high, trials)
        if high > _FAR * low and (middle := self._rounded(math.sqrt(low * high))) not in (low, high):
            return Probe(middle, self._least_requests(middle))
        return None

    def _up(self, top: float, trials: Sequence[Trial]) -> Probe | Ending:
        here = [trial for trial in trials if trial.load == top]
        if not any(trial.holds(_LIKELY) for trial in here) and not _close(here[-1]):
            return Probe(top, 4 * here[-1].requests)
        if top >= self.most:
            return "most"
        up = min(self.most, self._rounded(2 * top))
        return Probe(up, self._least_requests(up))

    def _down(self, bottom: float, trials: Sequence[Trial]) -> Probe | Ending | None:
        if bottom > self.least:
            down = max(self.least, self._rounded(bottom / 2))
            return Probe(down, self._least_requests(down))
        here = [trial for trial in trials if trial.load == bottom]
        if any(trial.holds(_LIKELY) is False for trial in here) or len(here) > 3:
            return "unmet"
        return Probe(bottom, 4 * here[-1].requests)

    # Then near the crossing, on both sides of it, with as many requests as the interval still needs.

    def _refine(self, trials: Sequence[Trial]) -> Probe | Ending:
        found = self.estimate(trials)
        if self.resolved(found) and self._founded(trials, found):
            return self._untried(trials, found) or "found"
        middle = math.log(found.middle)
        reach = (math.log(found.high) - math.log(found.low)) / 2
        aside = min(0.7 / found.slope, reach, 1.5 * self.tolerance)
        below, above = (self._rounded(math.exp(middle + side * aside)) for side in (-1, 1))
        if self.whole and below == above:
            below, above = math.floor(found.middle), math.floor(found.middle) + 1
        broken = min(_broken(trials), default=self.most)
        below, above = max(min(below, broken), self.least), min(above, self.most, self._rounded(broken * (1 + self.tolerance)))
        if self.whole and math.floor(found.middle) >= self.least and not self._founded(trials, found):
            below = above = float(math.floor(found.middle))
        load = below if _told(trials, below, found) < _told(trials, above, found) else above
        return Probe(load, self._requests(trials, load, reach, found))

    def _requests(self, trials: Sequence[Trial], load: float, reach: float, found: Estimate) -> int:
        near = [trial.requests for trial in trials if abs(math.log(trial.load / found.middle)) <= max(1 / found.slope, 0.02)]
        wanted = math.log1p(max(self.tolerance, 1.5 / found.middle if self.whole else 0.0)) * 0.9
        need = sum(near) * ((reach / wanted) ** 2 - 1) / 2
        largest = max(near, default=self.requests)
        if not self._founded(trials, found):
            long = self._long(trials, found)
            weight, had = _weighed(long, found.limit), sum(trial.requests for trial in long)
            need = max(4 * largest, LONG) if not weight else 1.2 * had * (FOUNDED / weight - 1)
        return max(self._least_requests(load), largest // 2, min(round(need), 3 * largest))

    def _rounded(self, load: float) -> float:
        return float(max(1, round(load))) if self.whole else float(f"{load:.4g}")


def _broken(trials: Sequence[Trial]) -> list[float]:
    """The loads that broke the SLO, but for those that a probe at least as long shows to be kept there or higher up."""
    kept = [trial for trial in trials if trial.leans]
    return [
        trial.load
        for trial in trials
        if not trial.leans and not any(one.load >= trial.load and one.requests >= trial.requests for one in kept)
    ]


def _weighed(trials: Sequence[Trial], limit: str) -> float:
    """How many requests over the limit, were just as many over it as may be, settled trials amount to."""
    return sum(_weight(one) for trial in trials for one in trial.evidence if one.name == limit and one.settled)


def _weight(one: Evidence) -> float:
    if one.mean is not None:  # a mean known within 5 % is as good
        return FOUNDED * min(1.0, (0.05 * one.mean.value / one.mean.error) ** 2) if one.mean.error else float(FOUNDED)
    return one.size * one.allowed if one.allowed else float(FOUNDED) if one.allowed == 0 else 0.0


def _close(trial: Trial) -> bool:
    """Whether some limit was nearly reached, so that a higher load is sure to tell more than the same one again."""
    return any(
        one.share > one.allowed / 3 if one.allowed is not None else one.value is not None and one.value > 0.7 * one.limit
        for one in trial.evidence
    )


def _told(trials: Sequence[Trial], load: float, found: Estimate) -> float:
    """How much is known on a load's side of the crossing, near it."""
    same = [trial for trial in trials if (trial.load <= found.middle) == (load <= found.middle)]
    return sum(
        one.telling if one.allowed is not None else trial.requests
        for trial in same
        if abs(math.log(trial.load / found.middle)) <= max(1.5 / found.slope, 0.02)
        for one in trial.evidence
        if one.name == found.limit
    )
