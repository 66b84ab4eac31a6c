"""Definitions: every metric as a pure function of the records and the window, exact quantiles and their confidence."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fmbench.metrics.distribution import QUANTILES, Distribution, Figure, order_statistics, requests_needed
from fmbench.metrics.limits import MOST_ERRORS, Limit, quantile_of
from fmbench.metrics.prices import UNKNOWN_PRICE, Prices, usd_of_time

if TYPE_CHECKING:
    from fmbench.metrics.catalogue import METRICS, RULES, Metric
    from fmbench.metrics.sample import Sample

__all__ = [
    "METRICS",
    "MOST_ERRORS",
    "QUANTILES",
    "RULES",
    "UNKNOWN_PRICE",
    "Distribution",
    "Figure",
    "Limit",
    "Metric",
    "Prices",
    "Sample",
    "order_statistics",
    "quantile_of",
    "requests_needed",
    "usd_of_time",
]

_ON_FIRST_USE = {"METRICS": "catalogue", "RULES": "catalogue", "Metric": "catalogue", "Sample": "sample"}
"""These need numpy, which starts threads as it is loaded; ``import fmbench`` starts none."""


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
