"""Csv and Json: the summary for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.reporters.rates import rates_for

if TYPE_CHECKING:
    from fmbench import SLO, Experiment, Result

__all__ = ["Csv", "Json"]


@checked
@dataclass(frozen=True)
class Csv:
    """Writes ``summary.csv``: one row an experiment, units in the columns' names, nothing where a figure is not known."""

    def report(self, result: Result, directory: Path) -> list[Path]:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "summary.csv"
        result.summary.to_csv(path, index=False, lineterminator="\n")
        return [path]


@checked
@dataclass(frozen=True)
class Json:
    """Writes ``summary.json``: all that a machine may want to know of a run but its single requests; unknown is null."""

    def report(self, result: Result, directory: Path) -> list[Path]:
        import orjson  # noqa: PLC0415 - read when a report is written, and only then

        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "summary.json"
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        path.write_bytes(orjson.dumps(_document(result), default=_plain, option=options))
        return [path]


_DISTRIBUTIONS = (
    *("latency", "service_latency", "response_latency", "ttft", "itl", "tpot", "token_throughput", "client_delay"),
    *("prompt_tokens", "completion_tokens"),
)
_FIGURES = (
    *("tps", "output_throughput", "error_rate", "window_seconds"),
    *("cost_per_1000_requests_usd", "usd_per_million_output_tokens"),
)
_ABOUT = (
    *("name", "deployment", "prompts", "parameters", "load", "load_fields", "concurrency", "per_second", "status", "reason"),
    *("planned", "warmup", "windows", "clock", "cpu", "queue", "loop_lag", "workers", "counts", "verdict"),
)


def _document(result: Result) -> dict[str, Any]:
    advice = result.advise() if result.slo is not None else None
    return {
        "name": result.name,
        "state": result.state,
        "simulated": result.simulated,
        "started_at": result.started_at,
        "verdict": result.verdict,
        "validity": [check.as_dict() for check in result.validity],
        "slo": None if result.slo is None else result.slo.as_dict(),
        "advice": None if advice is None else advice.as_dict(),
        "instances": None if (table := rates_for(result)) is None else table.as_dict(),
        "repriced": result.repriced,
        "cost": result.cost,
        "experiments": [_experiment(one) | _goodput(one, result.slo) for one in result.experiments],
        "deployments": result.deployments,
        "prompt_sets": result.prompt_sets,
        "problems": result.problems,
        "configuration": result.configuration,
        "machine": result.machine,
        "versions": result.versions,
    }


def _experiment(one: Experiment) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in (*_ABOUT, *_FIGURES)},
        **{name: getattr(one, name).as_dict() for name in _DISTRIBUTIONS},
        "errors": [{"kind": kind, "count": seen.count, "first_message": seen.message} for kind, seen in one.errors.items()],
        "reasons": dict(one.reasons),
    }


def _goodput(one: Experiment, slo: SLO | None) -> dict[str, Any]:
    return {} if slo is None else {"goodput": one.goodput(slo), "good_share": one.good_share(slo)}


def _plain(value: Any) -> Any:
    """What orjson does not know: mappings of other kinds as dictionaries, and anything else as it calls itself."""
    return dict(value) if hasattr(value, "keys") else str(value)
