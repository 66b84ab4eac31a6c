"""The laws that intervals are made from: the incomplete beta function, and quantiles of the beta and Student laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

__all__ = ["beta_cdf", "beta_quantile", "share_interval", "student_quantile"]

_TINY = 1e-300
_STEPS = 300


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction, evaluated from its head (Lentz's method)."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _not_zero(1 + term * d), _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _inverse(cdf: Callable[[float], float], p: float, low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle) < p else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=4096)
def beta_quantile(p: float, a: float, b: float) -> float:
    """The value below which a Beta(a, b) variable lies with probability p."""
    return _inverse(lambda x: beta_cdf(x, a, b), p, 0.0, 1.0)


@lru_cache(maxsize=4096)
def student_quantile(p: float, freedom: float) -> float:
    """The value below which Student's t lies with probability p (at least one half).

    Args:
        p: The probability, from 0.5 to below 1.
        freedom: The degrees of freedom.
    """
    # P(|t| > x) = I_{f / (f + x²)}(f / 2, 1 / 2), Abramowitz and Stegun 26.7.1.
    x = beta_quantile(2 * (1 - p), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


def share_interval(count: float, size: float, confidence: float = 0.95) -> tuple[float, float]:
    """Between which two bounds a share lies of which ``count`` in ``size`` were seen (Clopper and Pearson's exact interval).

    Args:
        count: How many had the property; need not be a whole number where ``size`` is an effective one.
        size: How many independent values there were.
        confidence: With which probability, at least, the interval holds the true share.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count <= 0 else beta_quantile(tail, count, size - count + 1)
    high = 1.0 if count >= size else beta_quantile(1 - tail, count + 1, size - count)
    return low, high
