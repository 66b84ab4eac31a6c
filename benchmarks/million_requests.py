"""Time and peak memory of the figures of a great run: 1,000,000 requests of 128 tokens, gaps and all.

    python benchmarks/million_requests.py [--requests 1000000] [--tokens 128] [--experiments 1] [--keep FOLDER]

Writes a run's folder with made-up records through fmbench's own record log (about 1.3 GB for a million requests, removed at
the end), then does each step in a process of its own and prints how long it took and its greatest resident memory, which the
operating system counts and which holds the interpreter and all libraries.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from fmbench.recording import RECORDS, RecordLog
from fmbench.types import Record

BATCH = 1000
"""Records a batch: what a second of a fast run appends."""
PROMPTS = 1000
STREAMS = 512
SECOND = 1_000_000_000


def main() -> None:
    """Write, measure, print, remove."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--experiments", type=int, default=1, help="the requests are dealt to so many experiments")
    parser.add_argument("--keep", type=Path, help="write the folder there and leave it, or measure the one that is there")
    parser.add_argument("--steps", nargs="+", choices=sorted(STEPS), default=list(STEPS))
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        STEPS[options.step](options.keep)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "run"
        if not (folder / RECORDS).exists():
            needed = options.requests * (options.tokens * 9 + 400) * 1.5
            if shutil.disk_usage(temporary if options.keep is None else options.keep.parent).free < needed:
                sys.exit(f"this needs {needed / 1e9:.1f} GB of disk")
            write_run(folder, options.requests, options.tokens, options.experiments)
        print(f"{folder / RECORDS}: {(folder / RECORDS).stat().st_size / 1e6:,.0f} MB")
        print(f"{'step':>10}{'seconds':>10}{'peak MB':>10}")
        for step in options.steps:
            began = time.perf_counter()
            command = [sys.executable, __file__, "--keep", str(folder), "--step", step]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            print(f"{step:>10}{time.perf_counter() - began:>10.1f}{int(told.stdout.split()[-1]):>10}", flush=True)


def write_run(folder: Path, requests: int, tokens: int, experiments: int) -> None:
    """A run's folder as ``Benchmark`` leaves it before it concludes, of so many requests of so many tokens."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    log, each = RecordLog(folder / RECORDS), requests // experiments
    entries = []
    for index in range(experiments):
        end = 0
        for start in range(0, each, BATCH):
            records = records_of(index, range(start, min(start + BATCH, each)), tokens, numbers)
            log.append(records)
            end = max(record.end_ns or 0 for record in records)
        entries.append(experiment(f"experiment-{index}", each, [0, end], tokens))
    log.close()
    (folder / "run.json").write_bytes(orjson.dumps(document(entries)))
    (folder / "payload.jsonl").touch()


def records_of(index: int, numbers: range, tokens: int, random: np.random.Generator) -> list[Record]:
    """Streamed replies: 20 to 60 ms to the first token, some 10 ms between two, one in a hundred arrivals coalesced."""
    count = len(numbers)
    first = random.gamma(8, 5e6, count).astype(np.int64)
    gaps = random.gamma(50, 2e5, (count, tokens - 1)).astype(np.int64)
    shared = random.random((count, tokens)) < 0.01
    shared[:, -1] = False
    rows = []
    for row, number in enumerate(numbers):
        sent = number * SECOND // 400
        arrivals = np.cumsum(np.concatenate(([sent + first[row]], gaps[row])))
        rows.append(record(index, number, sent, arrivals, shared[row]))
    return rows


def record(index: int, number: int, sent: int, arrivals: Any, shared: Any) -> Record:
    """One request; one in a thousand fails."""
    times, failed = array("q", arrivals.tobytes()), number % 1000 == 999
    row = dict.fromkeys(Record._fields) | {
        "id": f"0a1b2c3d-{index:03d}-{number}", "experiment": f"experiment-{index}", "prompt_id": f"prompt-{number % PROMPTS}",
        "worker": 0, "phase": "measured", "concurrency": STREAMS, "in_flight": STREAMS,
        "status": "error" if failed else "ok", "error_kind": "reset" if failed else None,
        "error_message": "the connection was reset" if failed else None, "http_status": 200,
        "due_ns": sent - 20_000, "sent_ns": sent, "first_byte_ns": times[0], "first_token_ns": times[0],
        "last_token_ns": times[-1], "last_byte_ns": times[-1], "end_ns": times[-1] + 50_000, "arrivals_ns": times,
        "arrival_coalesced": shared.tolist(), "coalesced": int(shared.sum()), "client_delay_ns": 20_000 + number % 7919,
        "clock": "kernel", "sent_source": "adapter", "prompt_tokens": 200 + number % PROMPTS, "prompt_tokens_source": "server",
        "cached_tokens": 0, "completion_tokens": len(times), "completion_tokens_source": "server", "finish_reason": "length",
        "model_returned": "model", "streamed": True,
    }  # fmt: skip
    return Record(**row)


def experiment(name: str, planned: int, window: list[int], tokens: int) -> dict[str, Any]:
    """Its entry in ``run.json``."""
    return {
        "name": name, "deployment": "engine", "prompts": "prompts", "parameters": {"max_new_tokens": tokens},
        "load": {"type": "Concurrency", "n": STREAMS}, "load_text": f"concurrency {STREAMS}", "concurrency": STREAMS,
        "per_second": None, "status": "measured", "reason": None, "planned": planned, "warmup": 0, "windows": [window],
        "clock": {"kernel": True, "offset_step_ns": 900},
        "cpu": {"process_seconds": 1.0, "wall_seconds": 10.0, "pressure_percent": 3.0}, "payload_first_line": 0,
    }  # fmt: skip


def document(experiments: list[dict[str, Any]]) -> dict[str, Any]:
    """The rest of ``run.json``."""
    deployment = {
        "name": "engine", "status": "up", "error": None, "facts": {}, "started_ns": 0, "ready_ns": SECOND,
        "ended_ns": 3600 * SECOND, "earlier": [],
        "endpoint": {"name": "engine", "url": "https://example.com", "model": "model", "facts": {"usd_per_hour": 3.6}},
    }  # fmt: skip
    return {
        "format": 1, "name": "a million requests", "run_id": "0a1b2c3d", "state": "finished", "simulated": True,
        "started_at": "2026-01-01T00:00:00+00:00", "started_unix_ns": 0, "perf_counter_origins_ns": [], "ended_at": None,
        "ended_ns": None, "versions": {}, "machine": {"cpus": 2}, "configuration": {}, "slo": {"itl_p95_seconds": 0.02},
        "columns": [], "prompt_sets": [{"name": "prompts", "count": PROMPTS}], "deployments": [deployment],
        "experiments": experiments, "validity": [], "problems": [],
    }  # fmt: skip


def summary(folder: Path) -> None:
    """Load, and make every figure, the validity and the summary's table."""
    from fmbench import Result  # noqa: PLC0415 - in the child alone

    result = Result.load(folder)
    one = result.experiments[0]
    print(len(result.summary), result.verdict, one.latency, one.itl, one.itl.interval(0.99), sep="\n", file=sys.stderr)


def goodput(folder: Path) -> None:
    """Load, and ask which requests kept to a limit on their own gaps."""
    from fmbench import Result  # noqa: PLC0415 - in the child alone

    result = Result.load(folder)
    assert result.slo is not None
    print([one.goodput(result.slo) for one in result.experiments], file=sys.stderr)


class Words:
    """Counts what nobody else did: nothing, for the server told every length."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def table(folder: Path) -> None:
    """Count what was estimated, and write ``results.csv``."""
    from fmbench import Prompt  # noqa: PLC0415 - in the child alone
    from fmbench.benchmark.drawing import Drawn  # noqa: PLC0415
    from fmbench.benchmark.recounting import recount  # noqa: PLC0415
    from fmbench.benchmark.results_file import write_results  # noqa: PLC0415
    from fmbench.benchmark.run_file import RunFile  # noqa: PLC0415

    run_file = RunFile(folder, orjson.loads((folder / "run.json").read_bytes()))
    prompts = tuple(Prompt(id=f"prompt-{number}", text="why? " * 200) for number in range(PROMPTS))
    drawn = Drawn("prompts", prompts, {}, None, None)
    used = {entry["name"]: drawn for entry in run_file.document["experiments"]}
    recount(folder, dict.fromkeys(used, Words()))
    write_results(run_file, used, dict.fromkeys(used, 1.0))


def report(folder: Path) -> None:
    """Write every report."""
    from fmbench import Result  # noqa: PLC0415 - in the child alone

    for name in ("csv", "json", "markdown", "html", "charts"):
        for path in Result.load(folder).report(name):
            print(path, path.stat().st_size, file=sys.stderr)


STEPS = {"summary": summary, "goodput": goodput, "table": table, "report": report}

if __name__ == "__main__":
    main()
