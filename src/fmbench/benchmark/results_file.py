"""``results.csv``: one row a request, the seed's columns first, then ours, then the user's; written batch by batch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any

from fmbench.benchmark.drawing import Drawn
from fmbench.benchmark.endpoints_file import SEED_PATHS, column_name, endpoint_entries, look_up
from fmbench.benchmark.run_file import RunFile
from fmbench.recording import RECORDS, read_batches
from fmbench.types import AT_PROMPT_TOKEN_LENGTH, Prompt

__all__ = ["OWN_COLUMNS", "SEED_COLUMNS", "write_results"]

SEED_COLUMNS = (
    *("endpoint_name", "prompt", "do_sample", "temperature", "top_p", "top_k", "max_new_tokens", "truncate", "completion"),
    *("prompt_tokens", "completion_tokens", "latency", "tps", "token_throughput"),
    *(column_name(path) for path in SEED_PATHS),
    "concurrency",
)
_RECORDED = (
    *("id", "status", "error_kind", "error_message", "http_status", "experiment", "prompt_id", "phase", "in_flight"),
    *(
        "prompt_tokens_source",
        "completion_tokens_source",
        "cached_tokens",
        "finish_reason",
        "model_returned",
        "clock",
        "coalesced",
    ),
)
OWN_COLUMNS = (
    *_RECORDED,
    *(
        "deployment",
        "instance_type",
        "load",
        "response_latency",
        "ttft",
        "tpot",
        "due_seconds",
        "sent_seconds",
        "client_delay_seconds",
        "session",
        "turn",
    ),
)


def write_results(run_file: RunFile, used: Mapping[str, Drawn], tps: Mapping[str, float | None]) -> None:
    """Write every recorded request.

    Args:
        run_file: The run.
        used: The prompts of each experiment.
        tps: Each experiment's transactions a second.
    """
    writing = _Writing(run_file, used, tps)
    fresh = run_file.directory / "results.fresh"
    with fresh.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow([*SEED_COLUMNS, *OWN_COLUMNS, *(column_name(path) for path in writing.paths)])
        for batch in read_batches(run_file.directory / RECORDS):
            out.writerows(writing.rows(batch))
    fresh.replace(run_file.directory / "results.csv")


class _Writing:
    def __init__(self, run_file: RunFile, used: Mapping[str, Drawn], tps: Mapping[str, float | None]) -> None:
        document = run_file.document
        self.paths: Sequence[str] = document["columns"]
        self._tps = tps
        self._experiments = {entry["name"]: entry for entry in document["experiments"]}
        self._described = {entry["experiment_name"]: entry for entry in endpoint_entries(document)}
        self._facts = {entry["name"]: (entry["endpoint"] or {}).get("facts", {}) for entry in document["deployments"]}
        by_set = {id(drawn): {prompt.id: prompt for prompt in drawn.prompts} for drawn in used.values()}
        self._prompts = {name: by_set[id(drawn)] for name, drawn in used.items()}

    def rows(self, batch: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a batch. They are made column by column: a dictionary for each row takes five times as long."""
        start = 0
        for name, run in groupby(batch.column("experiment").to_pylist()):
            count = sum(1 for _ in run)
            yield from self._rows(name, batch.slice(start, count))
            start += count

    def _rows(self, experiment: str, batch: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of one experiment."""
        entry = self._experiments[experiment]
        described = self._described.get(entry["deployment"])
        record = {name: batch.column(name).to_pylist() for name in (*_RECORDED, *_USED)}
        known = self._prompts.get(experiment, {})
        columns = record | _times(record) | _asked(entry, [known.get(identifier) for identifier in record["prompt_id"]])
        same = {
            "endpoint_name": look_up(described, "endpoint.EndpointName") or entry["deployment"],
            "tps": self._tps.get(experiment),
            "deployment": entry["deployment"],
            "instance_type": self._facts[entry["deployment"]].get("instance_type"),
            "load": entry["load_text"],
        }
        same |= {column_name(path): look_up(described, path) for path in SEED_PATHS}
        columns |= {name: repeat(value, batch.num_rows) for name, value in same.items()}
        told = (repeat(look_up(described, path), batch.num_rows) for path in self.paths)
        return zip(*(columns[name] for name in (*SEED_COLUMNS, *OWN_COLUMNS)), *told, strict=True)


_USED = (
    *("completion", "prompt_tokens", "completion_tokens", "concurrency", "session", "turn"),
    *("due_ns", "sent_ns", "first_token_ns", "last_token_ns", "last_byte_ns", "client_delay_ns"),
)

_Column = Iterable[Any]


def _asked(entry: Mapping[str, Any], prompts: Sequence[Prompt | None]) -> dict[str, _Column]:
    """What each request asked for."""
    given = entry["parameters"]
    most, truncate = given.get("max_new_tokens"), given.get("truncate")
    columns: dict[str, _Column] = {name: repeat(given.get(name), len(prompts)) for name in _GIVEN}
    columns["prompt"] = [None if prompt is None else _text(prompt) for prompt in prompts]
    columns["max_new_tokens"] = [
        most if prompt is None or prompt.max_new_tokens is None else prompt.max_new_tokens for prompt in prompts
    ]
    columns["truncate"] = (
        [None if prompt is None else prompt.tokens for prompt in prompts]
        if truncate == AT_PROMPT_TOKEN_LENGTH
        else repeat(truncate, len(prompts))
    )
    return columns


_GIVEN = ("do_sample", "temperature", "top_p", "top_k")


def _text(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in prompt.messages or ())


def _seconds(later: Sequence[int | None], earlier: Iterable[int | None]) -> list[float | None]:
    return [None if end is None or start is None else (end - start) / 1e9 for end, start in zip(later, earlier, strict=False)]


def _times(record: Mapping[str, Sequence[Any]]) -> dict[str, _Column]:
    """The requests' own figures, in seconds; one that failed has none."""
    tokens = record["completion_tokens"]
    good = [status == "ok" for status in record["status"]]
    arrived = zip(good, record["last_token_ns"], record["last_byte_ns"], strict=True)
    last = [(token if token is not None else byte) if fine else None for fine, token, byte in arrived]
    first = [at if fine else None for fine, at in zip(good, record["first_token_ns"], strict=True)]
    latency, ttft = _seconds(last, record["sent_ns"]), _seconds(first, record["sent_ns"])
    return {
        "latency": latency,
        "response_latency": _seconds(last, record["due_ns"]),
        "ttft": ttft,
        "tpot": [
            (whole - wait) / (count - 1) if whole is not None and wait is not None and count and count > 1 else None
            for whole, wait, count in zip(latency, ttft, tokens, strict=True)
        ],
        "token_throughput": [
            count / whole if whole and count is not None else None for whole, count in zip(latency, tokens, strict=True)
        ],
        "due_seconds": _seconds(record["due_ns"], repeat(0)),
        "sent_seconds": _seconds(record["sent_ns"], repeat(0)),
        "client_delay_seconds": _seconds(record["client_delay_ns"], repeat(0)),
    }
