"""Runs on disk, in the format that ``Benchmark`` writes."""

import json

import pytest

from fmbench.recording import RECORDS, RecordLog
from fmbench.types import Record

S = 1_000_000_000
MS = 1_000_000


def reply(experiment, number, concurrency, **changes):
    """A streamed reply of five tokens, 100 ms to the first and 20 ms between them; one starts each 100 ms."""
    sent = number * 100 * MS
    arrivals = [sent + (100 + 20 * token) * MS for token in range(5)]
    row = dict.fromkeys(Record._fields) | {
        "id": f"{experiment}-{number}", "experiment": experiment, "prompt_id": f"p-{number}", "worker": 0,
        "phase": "measured",
        "concurrency": concurrency, "in_flight": 1, "status": "ok", "due_ns": sent, "sent_ns": sent,
        "first_byte_ns": arrivals[0],
        "first_token_ns": arrivals[0], "last_token_ns": arrivals[-1], "last_byte_ns": arrivals[-1],
        "end_ns": arrivals[-1] + MS,
        "arrivals_ns": arrivals, "arrival_tokens": None, "arrival_coalesced": [False] * 5, "coalesced": 0,
        "client_delay_ns": 20_000,
        "clock": "kernel", "sent_source": "adapter", "prompt_tokens": 50, "prompt_tokens_source": "server",
        "cached_tokens": 0,
        "completion_tokens": 5, "completion_tokens_source": "server", "finish_reason": "length", "streamed": True,
        "completion": "one two three four five",
    }  # fmt: skip
    return Record(**(row | changes))


def experiment_entry(name, concurrency, planned, **changes):
    return {
        "name": name, "deployment": "engine", "prompts": "prompts", "parameters": {"max_new_tokens": 5},
        "load": {"type": "Concurrency", "n": concurrency}, "load_text": f"concurrency {concurrency}",
        "concurrency": concurrency,
        "per_second": None, "status": "measured", "reason": None, "planned": planned, "warmup": 0,
        "windows": [[0, planned * 100 * MS]], "clock": {"kernel": True, "offset_step_ns": 900},
        "cpu": {"process_seconds": 1.0, "wall_seconds": 10.0, "pressure_percent": 3.0}, "payload_first_line": 0,
    } | changes  # fmt: skip


def run_document(experiments, facts, **changes):
    return {
        "format": 1, "name": "made up", "run_id": "0", "state": "finished", "simulated": False,
        "started_at": "2025-01-01T00:00:00",
        "ended_at": "2025-01-01T00:01:00", "ended_ns": 60 * S, "versions": {"fmbench": "0"}, "machine": {"cpus": 2},
        "configuration": {}, "slo": None, "columns": [], "prompt_sets": [{"name": "prompts", "count": 130}],
        "deployments": [
            {
                "name": "engine", "status": "up", "error": None, "started_ns": 0, "ready_ns": 10 * S, "ended_ns": 60 * S,
                "endpoint": {"name": "engine", "url": "https://example.com", "model": "m", "facts": facts}, "earlier": [],
            }
        ],
        "experiments": experiments, "validity": [], "problems": [],
    } | changes  # fmt: skip


class Writer:
    """Writes runs below one folder."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, records=None, *, facts=None, experiments=None, **changes):
        """A run of two experiments, 130 requests each, unless told otherwise; the path of its folder."""
        if records is None:
            records = [reply(name, number, level) for name, level in (("one", 1), ("two", 2)) for number in range(130)]
        if experiments is None:
            experiments = [experiment_entry("one", 1, 130), experiment_entry("two", 2, 130)]
        path = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        path.mkdir()
        document = run_document(experiments, facts or {}, **changes)
        (path / "run.json").write_text(json.dumps(document), encoding="utf-8")
        log = RecordLog(path / RECORDS)
        for start in range(0, len(records), 50):
            log.append(records[start : start + 50])
        log.close()
        return path

    reply = staticmethod(reply)
    entry = staticmethod(experiment_entry)


@pytest.fixture
def write_run(tmp_path):
    return Writer(tmp_path)
