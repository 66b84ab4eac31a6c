"""The files that a configuration of the seed names, written when the run is over, into its folder."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmbench.benchmark.endpoints_file import SEED_PATHS, column_name
from fmbench.errors import ConfigError
from fmbench.types import Parameters, Prompt

if TYPE_CHECKING:
    from fmbench.result import Experiment, Result

__all__ = ["Bucket", "SeedFiles"]

ENDPOINT_COLUMNS = tuple(column_name(path) for path in SEED_PATHS)
PER_INFERENCE_COLUMNS = (
    *("endpoint_name", "prompt", "do_sample", "temperature", "top_p", "top_k", "max_new_tokens", "truncate", "completion"),
    *("prompt_tokens", "completion_tokens", "latency"),
    *ENDPOINT_COLUMNS,
    "concurrency",
)
ALL_METRICS_COLUMNS = (
    *("experiment_name", "concurrency", "payload_file", "errors", "successes", "error_rate"),
    *("all_prompts_token_count", "prompt_token_count_mean", "prompt_token_throughput"),
    *("all_completions_token_count", "completion_token_count_mean", "completion_token_throughput"),
    *("transactions", "transactions_per_second", "transactions_per_minute", "latency_mean"),
    *("instance_type", "endpoint_name", *ENDPOINT_COLUMNS),
    *("distinct_prompts", "most_times_a_prompt_was_sent"),
)
PROMPTS_COLUMNS = ("prompt_id", "language", "prompt", "prompt_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A set of prompts, and the file of its requests."""

    payload_file: str
    source: Any


@dataclass(slots=True)
class _Sums:
    """What is added up over an experiment's measured requests."""

    errors: int = 0
    successes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency: float = 0.0
    sent: Counter[str] = field(default_factory=Counter)
    endpoint: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFiles:
    """A reporter that writes the prompts, the requests by range of length, one row a request, and one row an experiment.

    Args:
        buckets: The prompt sets by the names of their files.
        everything: All prompts, by language.
        parameters: What each request asks for.
        all_prompts_file: The file of all prompts.
        per_inference_file: The file with a row a request; ``{datetime}`` is when the run began.
        all_metrics_file: The file with a row an experiment.
    """

    buckets: tuple[Bucket, ...] = field(repr=False)
    everything: tuple[Any, ...] = field(repr=False)
    parameters: Parameters
    all_prompts_file: str
    per_inference_file: str
    all_metrics_file: str

    def report(self, result: Result, directory: Path) -> Sequence[Path]:
        """Write them."""
        began = datetime.fromisoformat(str(result.started_at)).strftime("%Y-%m-%d-%H-%M-%S")
        per_inference = directory / self.per_inference_file.replace("{datetime}", began)
        metrics = directory / self.all_metrics_file.replace("{datetime}", began)
        written = [self._prompts(directory / self.all_prompts_file)]
        written += [self._payload(bucket, directory / bucket.payload_file) for bucket in self.buckets]
        sums = _per_inference(result.directory / "results.csv", per_inference)
        files = {bucket.source.name: bucket.payload_file for bucket in self.buckets}
        with metrics.open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, ALL_METRICS_COLUMNS)
            out.writeheader()
            out.writerows(_row(one, sums[one.name], files.get(one.prompts, one.prompts)) for one in result.experiments)
        return [*written, per_inference, metrics]

    def _prompts(self, path: Path) -> Path:
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(PROMPTS_COLUMNS)
            for source in self.everything:
                out.writerows((one.id, source.language, one.text, one.tokens) for one in _drawn(source))
        return path

    def _payload(self, bucket: Bucket, path: Path) -> Path:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(self._request(prompt), ensure_ascii=False) + "\n" for prompt in _drawn(bucket.source))
        return path

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        given = self.parameters.given()
        if self.parameters.truncate is not None:
            given["truncate"] = self.parameters.truncation(prompt)
        return {"inputs": prompt.text, "parameters": given}


def _drawn(source: Any) -> Iterator[Prompt]:
    """A source's prompts; none where no row is of such a length."""
    try:
        yield from source
    except ConfigError:
        return


def _per_inference(results: Path, path: Path) -> Mapping[str, _Sums]:
    """Copy the measured requests' columns out of ``results.csv``, and add up what the other file tells of each experiment."""
    sums: dict[str, _Sums] = defaultdict(_Sums)
    with results.open(encoding="utf-8", newline="") as file, path.open("w", encoding="utf-8", newline="") as target:
        rows = csv.reader(file)
        header = next(rows)
        place = {name: header.index(name) for name in header}  # the first of its name: a user's column may repeat one
        out = csv.writer(target)
        out.writerow([*PER_INFERENCE_COLUMNS, "experiment_name", "instance_type"])
        for row in rows:
            if row[place["phase"]] == "warmup":
                continue
            told = {name: row[at] for name, at in place.items()}
            out.writerow([*(told[name] for name in PER_INFERENCE_COLUMNS), told["deployment"], told["instance_type"]])
            _add(sums[told["experiment"]], told)
    return sums


def _add(sums: _Sums, row: Mapping[str, str]) -> None:
    sums.sent[row["prompt_id"]] += row["status"] != "not_sent"
    sums.endpoint = row
    if row["status"] != "ok":
        sums.errors += 1
        return
    sums.successes += 1
    sums.prompt_tokens += int(row["prompt_tokens"] or 0)
    sums.completion_tokens += int(row["completion_tokens"] or 0)
    sums.latency += float(row["latency"] or 0)


def _row(experiment: Experiment, sums: _Sums, payload_file: str) -> dict[str, Any]:
    """An experiment's figures; means are over successes, rates over the time in which requests were sent."""
    asked = sums.errors + sums.successes
    seconds = sum(end - start for start, end in experiment.windows) / 1e9
    tps = experiment.tps

    def mean(total: float) -> float | None:
        return total / sums.successes if sums.successes else None

    def rate(total: float) -> float | None:
        return total / seconds if seconds else None

    return {
        "experiment_name": experiment.deployment,
        "concurrency": experiment.concurrency,
        "payload_file": payload_file,
        "errors": sums.errors,
        "successes": sums.successes,
        "error_rate": sums.errors / asked if asked else None,
        "all_prompts_token_count": sums.prompt_tokens,
        "prompt_token_count_mean": mean(sums.prompt_tokens),
        "prompt_token_throughput": rate(sums.prompt_tokens),
        "all_completions_token_count": sums.completion_tokens,
        "completion_token_count_mean": mean(sums.completion_tokens),
        "completion_token_throughput": rate(sums.completion_tokens),
        "transactions": sums.successes,
        "transactions_per_second": tps,
        "transactions_per_minute": None if tps is None else 60 * tps,
        "latency_mean": mean(sums.latency),
        **{name: sums.endpoint.get(name) for name in ("instance_type", "endpoint_name", *ENDPOINT_COLUMNS)},
        "distinct_prompts": sum(count > 0 for count in sums.sent.values()),
        "most_times_a_prompt_was_sent": max(sums.sent.values(), default=0),
    }
