"""Whether a replayed trace arrives with the trace's own gaps: as planned, as sent, and as the server's kernel had it.

    python benchmarks/replayed.py [TRACE …] [--speed 1] [--seconds 20] [--workers 1]

``TRACE`` is a file in Azure's or Mooncake's form; without one, 1,000 requests in bursts are made up (gamma distributed gaps of
shape 0.3, 50 a second). The server (``truth_server.c``) runs on core 0 and this process on core 1. The error is a gap as
delivered minus the trace's gap. It ends with status 1 where the error as sent is more than 0.5 ms at the 99th percentile, or
where a request was sent early.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
from truth import TruthServer, compiled, read_log

from fmbench import Benchmark, Parameters, Replay
from fmbench.invokers import OpenAI
from fmbench.prompts import Trace
from fmbench.recording import read_table

BUDGET_SECONDS = 0.0005


class Words:
    """Counts words: how long prompts are is no matter here."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(text.split()) for text in texts]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="*", type=Path)
    parser.add_argument("--speed", type=float, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64, help="opened before: max_concurrency, which is never reached")
    parser.add_argument("--core", type=int, default=1, help="the client's core; the server is on core 0")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1 and options.workers == 1:
        os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory() as name, compiled() as program:
        folder = Path(name)
        trace = Trace(options.trace or made_up(folder / "made-up.csv"), longest_tokens=2000, tokenizer=Words())
        asked, due, sent, received = one_run(program, folder, trace, options)
        pressure = orjson.loads((folder / "run" / "run.json").read_bytes())["experiments"][0]["cpu"]["pressure_percent"]
    told = "" if pressure is None else f"; some task of this machine waited for a processor {pressure:.0f} % of the time"
    print(f"{len(asked)} requests in {asked[-1]:.1f} s{told}")
    print("gap as delivered minus the trace's, in microseconds")
    print(f"{'':>10}{'p50':>10}{'p99':>10}{'max':>10}")
    worst = {name: shown(name, asked, times) for name, times in (("due", due), ("sent", sent), ("received", received))}
    early = int((sent < due).sum())
    print(f"sent early: {early}; sent minus due at the 99th percentile: {np.quantile(sent - due, 0.99) * 1e6:.0f}")
    return 0 if worst["sent"] <= BUDGET_SECONDS and worst["due"] <= 1e-6 and not early else 1


def made_up(path: Path) -> Path:
    """A trace in Azure's form, in bursts."""
    draw, at, lines = random.Random(0), 0.0, ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for _ in range(1000):
        minutes, seconds = divmod(at, 60)
        lines.append(f"2023-11-16 18:{int(minutes):02d}:{seconds:010.7f},{draw.randint(10, 50)},1")
        at += draw.gammavariate(0.3, 1 / (0.3 * 50))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def one_run(
    program: Path, folder: Path, trace: Trace, options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """In seconds, in the trace's order: its own times, and when requests were due, sent, and in the server's kernel."""
    log, directory = folder / "truth.log", folder / "run"
    Benchmark(
        deployers=TruthServer(program, log, ttft_us=2000, tokens=1),
        prompts=trace,
        loads=Replay(
            speed=options.speed, requests=len(list(trace)), seconds=options.seconds, max_concurrency=options.connections
        ),
        invoker=OpenAI(),
        parameters=Parameters(max_new_tokens=1),
        keep_text=False,
        workers=options.workers,
    ).run(directory)
    [origin] = orjson.loads((directory / "run.json").read_bytes())["perf_counter_origins_ns"]
    truths = read_log(log)
    rows = sorted(
        (row for row in read_table(directory).to_pylist() if row["phase"] == "measured"), key=lambda row: int(row["id"][-6:])
    )
    at = {prompt.id: prompt.at_seconds for prompt in trace}
    asked = np.array([at[row["prompt_id"]] for row in rows]) / options.speed
    received = np.array([truths[row["id"]].received - origin for row in rows]) / 1e9
    due, sent = (np.array([row[name] for row in rows]) / 1e9 for name in ("due_ns", "sent_ns"))
    return asked - asked[0], due, sent, received


def shown(name: str, asked: np.ndarray, times: np.ndarray) -> float:
    """Print one row; the 99th percentile of the gaps' error in seconds."""
    error = np.abs(np.diff(times) - np.diff(asked))
    p50, p99 = np.quantile(error, (0.5, 0.99))
    print(f"{name:>10}" + "".join(f"{value * 1e6:>10.2f}" for value in (p50, p99, error.max())), flush=True)
    return float(p99)


if __name__ == "__main__":
    sys.exit(main())
