"""At which load a limit is crossed, as several probes at several loads tell together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from fmbench.advice.evidence import Evidence
from fmbench.metrics.laws import student_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Crossing", "crossing_of"]

SURE = 0.998
"""The confidence at which one probe alone bounds where the limit is crossed."""
_ROOTS, _SLOPES = 241, 25
_SLOPE_RANGE = 0.3, 300.0
SHORT = 8
"""A probe with fewer requests than the longest over this counts for less: short ones begin better than they go on."""
TRUST = 0.8
"""What a likelihood counts for, as the search chooses when to stop looking; set by the runs in ``benchmarks/``."""
_CURVATURE, _MEAN_CURVATURE = 0.2, 1.0


class Crossing(NamedTuple):
    """Where a limit is crossed: loads of equal-tailed probability, and how steeply."""

    low: float
    middle: float
    high: float
    slope: float
    """By how much the log odds of a request to be over the limit (for a mean: its logarithm) rise with the load's logarithm."""
    held: float | None
    """The highest load that one load's probes show to hold, below ``broke``."""
    broke: float | None
    """The lowest load that one load's probes show to break it."""
    monotone: bool
    """Whether no higher load than ``broke`` was shown to hold."""


def crossing_of(probes: Sequence[tuple[float, Evidence]], confidence: float = 0.95) -> Crossing:
    """Locate the load at which one limit is crossed.

    The log odds of being over the limit are taken to be linear in the load's logarithm near the crossing; a probe away from it
    counts for less, as if the line bent by a fifth of its rise squared. The crossing's probability is flat in the load's
    logarithm between the loads that are bounds by themselves, and the likelihood is that of the effective numbers of requests,
    which are independent by construction.

    Args:
        probes: Loads above 0, and what each said of the limit. Probes of one load are independent of each other.
        confidence: The probability of the interval.
    """
    import numpy as np  # noqa: PLC0415 - loading numpy starts threads, and `import fmbench` starts none

    held, broke, monotone = _bounds(probes)
    near = [(load, evidence) for load, evidence in probes if broke is None or load <= broke]
    loads = [load for load, _ in near]
    low, high = held if held is not None else min(loads) / 2, broke if broke is not None else max(loads) * 2
    roots = np.linspace(math.log(low), math.log(high), _ROOTS)
    slopes = np.geomspace(*_SLOPE_RANGE, _SLOPES)
    points = [(math.log(load), evidence) for load, evidence in near if evidence.requests and evidence.allowed != 0]
    longest = max((evidence.requests for _, evidence in points), default=1)
    lengths = [TRUST * min(1.0, SHORT * evidence.requests / longest) for _, evidence in points]
    weights = lengths
    middle, slope = (roots[0] + roots[-1]) / 2, 1.0
    mass = np.full(_ROOTS, 1 / _ROOTS)
    for _ in range(3):
        surface = _surface(points, weights, roots, slopes)
        mass = surface.sum(axis=1) / surface.sum()
        middle = _quantile(roots, mass, 0.5)
        nearest = surface[int(np.searchsorted(roots, middle).clip(0, _ROOTS - 1))]
        slope = float(np.exp((np.log(slopes) * nearest).sum() / nearest.sum()))
        weights = [
            length * _weight(evidence, slope * (at - middle)) for length, (at, evidence) in zip(lengths, points, strict=True)
        ]
    tail = (1 - confidence) / 2
    lower, median, upper = (math.exp(_quantile(roots, mass, p)) for p in (tail, 0.5, 1 - tail))
    return Crossing(lower, median, upper, slope, held, broke, monotone)


def _surface(
    points: Sequence[tuple[float, Evidence]], weights: Sequence[float], roots: NDArray[np.float64], slopes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The likelihood of each pair of a crossing and a slope, the highest being 1."""
    import numpy as np  # noqa: PLC0415 - as above

    logs = np.zeros((len(roots), len(slopes)))
    for (at, evidence), weight in zip(points, weights, strict=True):
        logs += weight * _log_likelihood(evidence, slopes[None, :] * (at - roots[:, None]))
    return np.asarray(np.exp(logs - logs.max()))


def _bounds(probes: Sequence[tuple[float, Evidence]]) -> tuple[float | None, float | None, bool]:
    verdicts = [(load, evidence.holds(SURE)) for load, evidence in probes]
    broke = min((load for load, verdict in verdicts if verdict is False), default=None)
    held = [load for load, verdict in verdicts if verdict]
    below = [load for load in held if broke is None or load < broke]
    return max(below, default=None), broke, broke is None or not any(load > broke for load in held)


def _quantile(roots: NDArray[np.float64], mass: NDArray[np.float64], p: float) -> float:
    """Linear between the grid's cells, so that the grid's step does not show."""
    import numpy as np  # noqa: PLC0415 - as above

    step = roots[1] - roots[0]
    edges = np.concatenate(([roots[0]], roots[:-1] + step / 2, [roots[-1]]))
    return float(np.interp(p, np.concatenate(([0.0], np.cumsum(mass))), edges))


def _log_likelihood(evidence: Evidence, rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what was seen, were the log odds of being over the limit ``rise`` above those that are allowed."""
    import numpy as np  # noqa: PLC0415 - as above

    if evidence.allowed is None:
        if evidence.mean is None or not evidence.mean.value > 0:
            return np.zeros_like(rise)
        error = evidence.mean.error / evidence.mean.value * _student_factor(evidence)
        seen = math.log(evidence.mean.value / evidence.limit)
        rise = rise if evidence.settled else np.minimum(rise, seen)
        return np.asarray(-0.5 * ((rise - seen) / max(error, 1e-6)) ** 2)
    odds = rise + math.log(evidence.allowed / (1 - evidence.allowed))
    if not evidence.settled:
        # It would have gone on worse: any share above the one that was seen explains it as well.
        share = min(max(evidence.share, 1e-9), 1 - 1e-9)
        odds = np.minimum(odds, math.log(share / (1 - share)))
    count = evidence.share * evidence.telling
    # The logarithms of 1 / (1 + e^-x) and of 1 / (1 + e^x), without overflow.
    return np.asarray(-count * np.logaddexp(0, -odds) - (evidence.telling - count) * np.logaddexp(0, odds))


def _weight(evidence: Evidence, rise: float) -> float:
    """A probe's precision with the line's possible bend, over its precision without."""
    bend = ((_CURVATURE if evidence.allowed is not None else _MEAN_CURVATURE) * rise**2) ** 2
    if evidence.allowed is None:
        if evidence.mean is None or not evidence.mean.value > 0:
            return 0.0
        variance = max((evidence.mean.error / evidence.mean.value) ** 2, 1e-12)
        return variance / (variance + bend)
    share = 1 / (1 + math.exp(-max(min(rise, 50.0), -50.0)) * (1 - evidence.allowed) / evidence.allowed)
    return 1 / (1 + evidence.telling * share * (1 - share) * bend)


def _student_factor(evidence: Evidence) -> float:
    freedom = 1.0 if evidence.mean is None else evidence.mean.freedom
    return student_quantile(0.975, freedom) / NormalDist().inv_cdf(0.975)
