"""Service-level objectives: what a user calls fast enough."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn

from fmbench.errors import ConfigError
from fmbench.metrics import Limit

__all__ = ["SLO", "statistic_of"]

_METRICS = MappingProxyType(
    {
        "latency": "latency",
        "response": "response_latency",
        "service": "service_latency",
        "ttft": "ttft",
        "itl": "itl",
        "tpot": "tpot",
    }
)
_STATISTICS = ("p50", "p90", "p95", "p99", "mean")
_LIMIT = re.compile(rf"({'|'.join(_METRICS)})_(mean|p[1-9][0-9]?(?:_[0-9]*[1-9])?)_seconds")
_NAMES = ("error_rate", *(f"{word}_{statistic}_seconds" for word in _METRICS for statistic in _STATISTICS))
"""What a name that is not known is held against; any other percentile goes too."""


def statistic_of(name: str) -> tuple[str, str]:
    """The metric and the statistic that a limit's name stands for: ``("ttft", "p99")`` for ``ttft_p99_seconds``.

    Raises:
        KeyError: it is no such name.
    """
    found = _LIMIT.fullmatch(name)
    if found is None:
        raise KeyError(name)
    return _METRICS[found[1]], found[2]


def _words(name: str) -> str:
    """``latency p99.9`` for ``latency_p99_9_seconds``."""
    found = _LIMIT.fullmatch(name)
    if found is None:
        return name.replace("_", " ")
    word = found[1].upper() if found[1] in ("ttft", "itl", "tpot") else found[1]
    return f"{word} {found[2].replace('_', '.')}"


class SLO:
    """Limits that an endpoint has to keep to.

    A limit's name is a metric (``latency``, ``response``, ``service``, ``ttft``, ``itl``, ``tpot``), then ``mean`` or a
    percentile (``p50``, ``p90``, ``p95``, ``p99``, and any other: ``p80``, ``p99_9``), then ``seconds``. ``latency`` is the
    headline one (response under an open load, service under a closed one). ``error_rate`` is a share; an SLO that does not
    name it puts up with one of 0.05.

    Args:
        **limits: ``latency_p95_seconds=5``, ``ttft_p99_seconds=1``, ``error_rate=0.01`` …

    Raises:
        ConfigError: a name that is not known (the nearest ones are told), a value that cannot be a limit, or no limit at all.
    """

    __slots__ = ("_limits",)
    _limits: Mapping[str, float]

    def __init__(self, **limits: float) -> None:
        if not limits:
            raise ConfigError("an SLO needs at least one limit, such as latency_p95_seconds=5")
        for name, value in limits.items():
            _check_limit(name, value)
        object.__setattr__(self, "_limits", MappingProxyType(dict(limits)))

    @classmethod
    def parse(cls, text: str) -> SLO:
        """An SLO as it stands on the command line: ``latency_p95_seconds=5,ttft_p99_seconds=1``.

        Raises:
            ConfigError: the text is not a list of ``name=number``, or as for the class.
        """
        limits: dict[str, float] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, value = (piece.strip() for piece in part.partition("="))
            name = name.replace(".", "_")
            if name in limits:
                raise ConfigError(f"slo: {name} stands there twice")
            try:
                limits[name] = float(value)
            except ValueError:
                raise ConfigError(f"slo: {part!r} is not name=number, such as latency_p95_seconds=5") from None
        return cls(**limits)

    def as_dict(self) -> dict[str, float]:
        """The limits by name."""
        return dict(self._limits)

    def labels(self) -> dict[str, str]:
        """The limits as headings, by name, with their unit: ``TTFT p99 (s)``."""
        return {name: _words(name) + (" (s)" if name != "error_rate" else "") for name in self._limits}

    def request_limits(self) -> tuple[Limit, ...]:
        """The limits on latencies, each as one on a single request; what goodput counts by."""
        return tuple(Limit(*statistic_of(name), value) for name, value in self._limits.items() if name != "error_rate")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an SLO cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an SLO cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return self._limits == other._limits if isinstance(other, SLO) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._limits.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _slo_of, (self.as_dict(),)

    def __repr__(self) -> str:
        return f"SLO({', '.join(f'{name}={value:g}' for name, value in self._limits.items())})"

    def __str__(self) -> str:
        return ", ".join(_told(name, value) for name, value in self._limits.items())


def _slo_of(limits: dict[str, float]) -> SLO:
    return SLO(**limits)


def _told(name: str, value: float) -> str:
    return f"{_words(name)} ≤ {value:.3g}" if name == "error_rate" else f"{_words(name)} ≤ {value:g} s"


def _check_limit(name: str, value: object) -> None:
    if name != "error_rate" and not _LIMIT.fullmatch(name):
        near = get_close_matches(name, _NAMES, n=3, cutoff=0.5)
        known = ", ".join(near) or "metric_statistic_seconds, such as latency_p95_seconds"
        raise ConfigError(f"slo: {name!r} is no limit fmbench knows; the nearest: {known}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"slo: {name} must be a number, not {value!r}")
    if name == "error_rate" and not 0 <= value <= 1:
        raise ConfigError(f"slo: error_rate is a share between 0 and 1, not {value:g}")
    if name != "error_rate" and not value > 0:
        raise ConfigError(f"slo: {name} must be above 0 seconds, not {value:g}")
