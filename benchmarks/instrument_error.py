"""Reported minus true: how far off fmbench's figures are, against a server that logs what it did.

    python benchmarks/instrument_error.py [--streams 16 128 512] [--runs 3] [--requests-per-stream 4] [--tls]

The server runs on core 0 and this process on core 1. The truth is the server's own log: the kernel's receive time of a
request, and the time just before each token is sent. TTFT's error therefore holds all that lies between the client's
decision to send and the request's arrival.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
from truth import Truth, TruthServer, compiled, read_log, trusted_certificate

from fmbench import Benchmark, Concurrency, Parameters, Prompt
from fmbench.invokers import OpenAI
from fmbench.recording import read_table

FIGURES = (
    "TTFT p50",
    "TTFT p99",
    "arrival p50",
    "arrival p99",
    "mean ITL p50",
    "mean ITL p99",
    "coalesced %",
    "CPU % per 1,000 tok/s",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[16, 128, 512])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests-per-stream", type=int, default=4)
    parser.add_argument("--core", type=int, default=1, help="the client's core; the server is on core 0")
    parser.add_argument("--tls", action="store_true", help="over https, with a certificate of its own")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {options.core})
    print(
        f"reported minus true, in microseconds; medians of {options.runs} runs, {options.requests_per_stream} requests a stream"
    )
    print(f"{'streams':>8}" + "".join(f"{name:>{max(12, len(name) + 2)}}" for name in FIGURES))
    with compiled(tls=options.tls) as program, trusted_certificate() if options.tls else nullcontext() as certificate:
        for streams in options.streams:
            runs = [one_run(program, streams, options.requests_per_stream, certificate) for _ in range(options.runs)]
            cells = [median(run[name] for run in runs) for name in FIGURES]
            shown = zip(FIGURES, cells, strict=True)
            print(f"{streams:>8}" + "".join(f"{cell:>{max(12, len(name) + 2)}.3f}" for name, cell in shown), flush=True)


def one_run(program: Path, streams: int, requests_per_stream: int, certificate: Path | None = None) -> dict[str, float]:
    """One run of one load: its errors."""
    with tempfile.TemporaryDirectory() as folder:
        log, directory = Path(folder) / "truth.log", Path(folder) / "run"
        Benchmark(
            deployers=TruthServer(program, log, certificate=certificate),
            prompts=[Prompt(id=str(number), text=f"prompt {number}") for number in range(streams)],
            loads=Concurrency(streams, requests=streams * requests_per_stream),
            invoker=OpenAI(),
            parameters=Parameters(max_new_tokens=128),
            keep_text=False,
        ).run(directory)
        document = orjson.loads((directory / "run.json").read_bytes())
        return errors(read_table(directory).to_pylist(), read_log(log), document)


def errors(rows: list[dict[str, Any]], truths: dict[str, Truth], document: dict[str, Any]) -> dict[str, float]:
    """Compare each record with the server's log of it."""
    [origin] = document["perf_counter_origins_ns"]  # both clocks are CLOCK_MONOTONIC
    ttft, arrival, itl, coalesced, tokens = [], [], [], 0, 0
    for row in rows:
        truth = truths[row["id"]]
        times = np.array(row["arrivals_ns"]) + origin
        sent = np.array(truth.sent)
        own = ~np.array(row["arrival_coalesced"])
        coalesced, tokens = coalesced + int((~own).sum()), tokens + len(own)
        arrival.append((times - sent)[own])
        if row["first_token_ns"] is not None:
            ttft.append((row["first_token_ns"] - row["sent_ns"]) - (truth.sent[0] - truth.received))
            itl.append((times[-1] - times[0]) / (len(times) - 1) - (sent[-1] - sent[0]) / (len(sent) - 1))
    every = np.abs(np.concatenate(arrival)) / 1e3
    first, gaps = np.abs(ttft) / 1e3, np.abs(itl) / 1e3
    [experiment] = document["experiments"]
    per_second = tokens / experiment["cpu"]["wall_seconds"]
    cpu = 100 * experiment["cpu"]["process_seconds"] / experiment["cpu"]["wall_seconds"] / (per_second / 1000)
    values = [np.quantile(data, q) for data in (first, every, gaps) for q in (0.5, 0.99)]
    return dict(zip(FIGURES, [float(value) for value in (*values, 100 * coalesced / tokens, cpu)], strict=True))


if __name__ == "__main__":
    main()
