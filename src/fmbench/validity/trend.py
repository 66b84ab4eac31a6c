"""Does a series move? Tests whose false alarms are known, also for values that hang together as queueing latencies do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CRITICAL", "LEAST", "drift", "moves", "rise", "slope"]

LEAST = 30
"""How many values a drift is looked for in."""
_COMPARISONS = 4
CRITICAL = 4.604
"""Student's t of 4 degrees of freedom that is exceeded with a probability of 0.5 % on either side."""
_BATCHES = 96

Series = NDArray[np.float64]


def drift(values: Series) -> float:
    """How far a series rises or falls from its beginning to its end, in units of its own slow fluctuation.

    The values' ranks (so that a few slow requests do not decide) are averaged in up to 96 batches and projected on
    orthonormal polynomials. The share of the straight line is compared with those of the four next, slowly bending ones:
    were there no drift, all five would be alike, however the values hang together over times that are short against the
    series. The ratio has Student's t distribution of 4 degrees of freedom then. (Phillips, *HAC estimation by automated
    regression*, 2005.)

    Args:
        values: In the order of time, none of them NaN; at least ``LEAST``.

    Returns:
        The ratio: above ``CRITICAL`` the series rises, below its negative it falls.
    """
    batches = min(len(values), _BATCHES)
    edges = np.linspace(0, len(values), batches + 1).astype(np.int64)
    means = np.add.reduceat(_ranks(values), edges[:-1]) / np.diff(edges)
    basis, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, batches), 2 + _COMPARISONS, increasing=True))
    shares = (basis * np.sign(basis[-1])).T @ means
    usual = float(np.sqrt(np.mean(shares[2:] ** 2)))
    # A series that never changes has no share at all, but for the rounding of its mean.
    return float(shares[1]) / max(usual, 1e-9 * len(values))


def moves(values: Series) -> bool:
    """Whether a series drifts; a series too short to tell does not. One that does not is taken for one with 1 % at most."""
    return len(values) >= LEAST and abs(drift(values)) > CRITICAL


def rise(values: Series) -> float:
    """The mean of the last third against that of the first, as a relative change."""
    third = max(1, len(values) // 3)
    first, last = float(np.mean(values[:third])), float(np.mean(values[-third:]))
    return last / first - 1 if first > 0 else 0.0


def slope(times: Series, values: Series) -> float:
    """The slope of the straight line through the values, by least squares."""
    centred = times - times.mean()
    spread = float(centred @ centred)
    return float(centred @ values) / spread if spread > 0 else 0.0


def _ranks(values: Series) -> Series:
    """The ranks from 1 on; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places], dtype=np.float64)
