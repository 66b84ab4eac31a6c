"""How well open loads keep their due times: sent minus due, and what it costs.

    python benchmarks/pacing.py [--per-second 100 1000] [--seconds 5] [--runs 3]

The server (``truth_server.c``, replies of one token) runs on core 0 and this process on core 1. ``sent`` is the moment just
before the request is written; ``received`` is when the kernel had it, from the server's log. Rows are medians of the runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import orjson
from truth import TruthServer, compiled, read_log

from fmbench import Benchmark, ConstantRate, Parameters, Prompt
from fmbench.invokers import OpenAI
from fmbench.recording import read_table

FIGURES = ("p50 µs", "p99 µs", "max µs", "received p99", "early", "requests", "CPU %")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=float, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--core", type=int, default=1, help="the client's core; the server is on core 0")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {options.core})
    print(f"sent minus due; medians of {options.runs} runs of {options.seconds:g} s")
    print(f"{'per second':>12}" + "".join(f"{name:>14}" for name in FIGURES))
    with compiled() as program:
        for rate in options.per_second:
            runs = [one_run(program, rate, options.seconds) for _ in range(options.runs)]
            print(f"{rate:>12g}" + "".join(f"{median(run[name] for run in runs):>14.1f}" for name in FIGURES), flush=True)


def one_run(program: Path, rate: float, seconds: float) -> dict[str, float]:
    """One run of one rate."""
    with tempfile.TemporaryDirectory() as folder:
        log, directory = Path(folder) / "truth.log", Path(folder) / "run"
        Benchmark(
            deployers=TruthServer(program, log, ttft_us=2000, tokens=1),
            prompts=[Prompt(id=str(number), text=f"prompt {number}") for number in range(100)],
            loads=ConstantRate(rate, seconds=seconds),
            invoker=OpenAI(),
            parameters=Parameters(max_new_tokens=1),
            keep_text=False,
        ).run(directory)
        document = orjson.loads((directory / "run.json").read_bytes())
        [origin] = document["perf_counter_origins_ns"]
        truths = read_log(log)
        rows = [row for row in read_table(directory).to_pylist() if row["phase"] == "measured"]
    sent = np.array([row["sent_ns"] - row["due_ns"] for row in rows]) / 1e3
    received = np.array([truths[row["id"]].received - origin - row["due_ns"] for row in rows]) / 1e3
    [experiment] = document["experiments"]
    cpu = 100 * experiment["cpu"]["process_seconds"] / experiment["cpu"]["wall_seconds"]
    p50, p99 = np.quantile(sent, (0.5, 0.99))
    values = p50, p99, sent.max(), np.quantile(received, 0.99), (sent < 0).sum(), len(rows), cpu
    return dict(zip(FIGURES, [float(value) for value in values], strict=True))


if __name__ == "__main__":
    main()
