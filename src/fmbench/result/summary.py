"""The summary: one row an experiment, units in the columns' names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmbench.result.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUMMARY", "Column", "summary_frame", "summary_rows"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the summary: its name, what it holds, and how it is made of an experiment."""

    name: str
    meaning: str
    value: Callable[[Experiment], Any]


def _status(status: str) -> Column:
    meaning = f"requests that ended {status!r}, warm-up included" if status != "not_sent" else "requests that were never sent"
    return Column(status, meaning, lambda experiment: experiment.counts[status])


def _statistic(metric: str, statistic: str, unit: str) -> Column:
    word = "mean" if statistic == "mean" else f"{statistic[1:]}th percentile"
    return Column(
        f"{metric}_{statistic}_{unit}",
        f"{metric.replace('_', ' ')}: {word}",
        lambda experiment: getattr(getattr(experiment, metric), statistic),
    )


def _statistics(metric: str, unit: str, *statistics: str) -> tuple[Column, ...]:
    return tuple(_statistic(metric, statistic, unit) for statistic in statistics)


_ALL = ("mean", "p50", "p90", "p95", "p99")

SUMMARY: tuple[Column, ...] = (
    Column("experiment", "its name", lambda one: one.name),
    Column("deployment", "the deployment's name", lambda one: one.deployment),
    Column("instance_type", "the endpoint's", lambda one: one.facts.get("instance_type")),
    Column("instance_count", "the endpoint's", lambda one: one.facts.get("instance_count")),
    Column("prompts", "the prompt set's name", lambda one: one.prompts),
    Column("load", "the load, for people", lambda one: one.load),
    Column("concurrency", "a closed load's level", lambda one: one.concurrency),
    Column("per_second", "an open load's requests a second", lambda one: one.per_second),
    Column("status", "whether it was measured", lambda one: one.status),
    Column("reason", "why not", lambda one: one.reason),
    Column("verdict", "the worst of its validity checks", lambda one: one.verdict),
    Column("window_seconds", "the length of its windows", lambda one: one.window_seconds),
    Column("planned", "requests planned, warm-up included", lambda one: one.planned),
    *map(_status, ("ok", "error", "timeout", "cancelled", "not_sent")),
    Column("requests", "successful requests due in the window: what latencies stand on", lambda one: one.latency.requests),
    Column("error_rate", "the share that failed, due in the window", lambda one: one.error_rate),
    Column("tps", "successful requests a second", lambda one: one.tps),
    Column("output_throughput_tokens_per_second", "completion tokens a second", lambda one: one.output_throughput),
    *_statistics("latency", "seconds", *_ALL),
    *_statistics("ttft", "seconds", *_ALL),
    *_statistics("itl", "seconds", *_ALL),
    *_statistics("tpot", "seconds", *_ALL),
    *_statistics("service_latency", "seconds", "p50", "p95"),
    *_statistics("response_latency", "seconds", "p50", "p95"),
    *_statistics("token_throughput", "tokens_per_second", "mean", "p50"),
    *_statistics("prompt_tokens", "tokens", "mean"),
    *_statistics("completion_tokens", "tokens", "mean"),
    *_statistics("client_delay", "seconds", "p50", "p95", "p99"),
    Column("usd_per_hour", "one instance's price", lambda one: one.facts.get("usd_per_hour")),
    Column("cost_per_1000_requests_usd", "at the measured rate", lambda one: one.cost_per_1000_requests_usd),
    Column("usd_per_million_output_tokens", "at the measured rate", lambda one: one.usd_per_million_output_tokens),
)
"""Every column, in order."""


def summary_rows(experiments: Iterable[Experiment]) -> list[dict[str, Any]]:
    """The summary as plain values; what is not known is ``None``."""
    return [{column.name: column.value(experiment) for column in SUMMARY} for experiment in experiments]


def summary_frame(experiments: Iterable[Experiment]) -> pd.DataFrame:
    """The summary as a ``DataFrame``; what is not known is missing, in pandas's way."""
    rows = summary_rows(experiments)  # first, so that pandas's memory does not stand on top of what reading takes
    import pandas as pd  # noqa: PLC0415 - `import fmbench` stays light

    return pd.DataFrame(rows, columns=[column.name for column in SUMMARY])
