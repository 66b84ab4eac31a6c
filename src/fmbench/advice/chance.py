"""What chance alone would bring: tails of laws, intervals of shares, and many claims held to one rate of error."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmbench.metrics.laws import beta_cdf

__all__ = ["fisher_tail", "holm", "share_difference", "student_tail"]


def student_tail(value: float, freedom: float) -> float:
    """P(T >= value) for Student's t."""
    if value < 0:
        return 1 - student_tail(-value, freedom)
    # Abramowitz and Stegun 26.7.1 and 26.5.27: the two tails together are I_{f / (f + t²)}(f / 2, 1 / 2).
    return beta_cdf(freedom / (freedom + value**2), freedom / 2, 0.5) / 2


def fisher_tail(failed: tuple[int, int], ended: tuple[int, int]) -> float:
    """Fisher's exact test: P(so many failures or more on the second side), all failures spread by chance over both sides."""
    total, failures = sum(ended), sum(failed)

    def weight(count: int) -> float:
        return math.exp(_log_choose(ended[1], count) + _log_choose(ended[0], failures - count) - _log_choose(total, failures))

    return min(1.0, math.fsum(weight(count) for count in range(failed[1], min(failures, ended[1]) + 1)))


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def share_difference(failed: tuple[float, float], ended: tuple[float, float], z: float = 1.959964) -> tuple[float, float]:
    """An interval of the difference of two shares, second minus first: Newcombe's hybrid score method (1998, method 10)."""
    shares = [count / size for count, size in zip(failed, ended, strict=True)]
    (low_a, high_a), (low_b, high_b) = (_wilson(p, n, z) for p, n in zip(shares, ended, strict=True))
    difference = shares[1] - shares[0]
    below = math.hypot(shares[1] - low_b, high_a - shares[0])
    above = math.hypot(high_b - shares[1], shares[0] - low_a)
    return difference - below, difference + above


def _wilson(share: float, size: float, z: float) -> tuple[float, float]:
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return middle - half, middle + half


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjusted probabilities: with those up to alpha claimed, no claim at all is false with probability 1 - alpha (Holm, 1979).

    Args:
        probabilities: One a claim, whatever they depend on each other.
    """
    order = sorted(range(len(probabilities)), key=lambda index: probabilities[index])
    adjusted, least = [1.0] * len(order), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, probabilities[index] * (len(order) - rank)))
        adjusted[index] = least
    return adjusted
