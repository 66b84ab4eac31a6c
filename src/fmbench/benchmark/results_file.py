"""``results.csv``: one row a request, the seed's columns first, then ours, then the user's; written batch by batch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
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

    def rows(self, batch: Any) -> Iterator[list[Any]]:
        columns = [name for name in batch.schema.names if not name.startswith("arrival")]
        values = [batch.column(name).to_pylist() for name in columns]
        for row in zip(*values, strict=True):
            yield self._row(dict(zip(columns, row, strict=True)))

    def _row(self, record: Mapping[str, Any]) -> list[Any]:
        entry = self._experiments[record["experiment"]]
        described = self._described.get(entry["deployment"])
        prompt = self._prompts.get(record["experiment"], {}).get(record["prompt_id"])
        row = self._asked(entry, prompt) | _times(record)
        row |= {name: record[name] for name in (*_RECORDED, "completion", "prompt_tokens", "completion_tokens", "concurrency")}
        row |= {
            "endpoint_name": look_up(described, "endpoint.EndpointName") or entry["deployment"],
            "prompt": None if prompt is None else _text(prompt),
            "tps": self._tps.get(record["experiment"]),
            "deployment": entry["deployment"],
            "instance_type": self._facts[entry["deployment"]].get("instance_type"),
            "load": entry["load_text"],
        }
        row |= {column_name(path): look_up(described, path) for path in SEED_PATHS}
        return [*(row[name] for name in (*SEED_COLUMNS, *OWN_COLUMNS)), *(look_up(described, path) for path in self.paths)]

    def _asked(self, entry: Mapping[str, Any], prompt: Prompt | None) -> dict[str, Any]:
        asked = {
            name: entry["parameters"].get(name) for name in ("do_sample", "temperature", "top_p", "top_k", "max_new_tokens")
        }
        if prompt is not None and prompt.max_new_tokens is not None:
            asked["max_new_tokens"] = prompt.max_new_tokens
        truncate = entry["parameters"].get("truncate")
        if truncate == AT_PROMPT_TOKEN_LENGTH:
            truncate = None if prompt is None else prompt.tokens
        return asked | {"truncate": truncate}


def _text(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in prompt.messages or ())


def _seconds(later: int | None, earlier: int | None) -> float | None:
    return None if later is None or earlier is None else (later - earlier) / 1e9


def _times(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The request's own figures, in seconds; a request that failed has none."""
    good = record["status"] == "ok"
    last = record["last_token_ns"] if record["last_token_ns"] is not None else record["last_byte_ns"]
    latency = _seconds(last, record["sent_ns"]) if good else None
    ttft = _seconds(record["first_token_ns"], record["sent_ns"]) if good else None
    tokens = record["completion_tokens"]
    return {
        "latency": latency,
        "response_latency": _seconds(last, record["due_ns"]) if good else None,
        "ttft": ttft,
        "tpot": (latency - ttft) / (tokens - 1) if latency is not None and ttft is not None and tokens and tokens > 1 else None,
        "token_throughput": tokens / latency if latency and tokens is not None else None,
        "due_seconds": _seconds(record["due_ns"], 0),
        "sent_seconds": _seconds(record["sent_ns"], 0),
        "client_delay_seconds": _seconds(record["client_delay_ns"], 0),
    }
