"""All that one pass over an experiment's records gives: its figures and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fmbench.metrics import Distribution, Figure, Prices, Sample, formulas, money
from fmbench.validity import Check
from fmbench.validity.checks import Subject, assess

__all__ = ["Failure", "Reading", "read"]

DISTRIBUTIONS = (
    formulas.latency,
    formulas.service_latency,
    formulas.response_latency,
    formulas.ttft,
    formulas.itl,
    formulas.tpot,
    formulas.token_throughput,
    formulas.client_delay,
    formulas.prompt_tokens,
    formulas.completion_tokens,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Failures of one kind: how many, and what the first one said."""

    count: int
    message: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the records say of one experiment."""

    distributions: Mapping[str, Distribution]
    figures: Mapping[str, Figure]
    counts: Mapping[str, int]
    errors: Mapping[str, Failure]
    checks: tuple[Check, ...]


def read(sample: Sample, prices: Prices, **about: Any) -> Reading:
    """Make all figures and checks of one experiment.

    Args:
        sample: Its records and windows.
        prices: What its endpoint is paid with.
        **about: The rest of the checks' ``Subject``.
    """
    figures = {
        "tps": formulas.tps(sample),
        "output_throughput": formulas.output_throughput(sample),
        "error_rate": formulas.error_rate(sample),
        "cost_per_1000_requests_usd": money.usd_per_1000_requests(sample, prices),
        "usd_per_million_output_tokens": money.usd_per_million_output_tokens(sample, prices),
    }
    return Reading(
        distributions={make.__name__: make(sample) for make in DISTRIBUTIONS},
        figures=figures,
        counts=formulas.count_by_status(sample),
        errors=_errors(sample),
        checks=assess([Subject(sample=sample, **about)]),
    )


def _errors(sample: Sample) -> dict[str, Failure]:
    """The failures by kind, the most frequent first."""
    first: dict[str, str] = {}
    count: dict[str, int] = {}
    for batch in sample.batches():
        kinds = batch.column("error_kind")
        if kinds.null_count < len(kinds):
            for kind, message in zip(kinds.to_pylist(), batch.column("error_message").to_pylist(), strict=True):
                if kind is not None:
                    first.setdefault(kind, message or "")
                    count[kind] = count.get(kind, 0) + 1
    return {kind: Failure(count[kind], first[kind]) for kind in sorted(count, key=lambda kind: -count[kind])}
