"""Capacity searches over real sockets against the same queue in virtual time: do they find the same?

    python benchmarks/capacity_sockets.py [--runs 20] [--service-seconds 0.02]

The server is fmbench's simulator in a child process, two exponential servers with one queue (closed M/M/2); the truth is that
queue's own over a long run. A search is right if its concurrency is the truth's or one off. The searches in virtual time take
the same queue without sockets, and as many seeds. About 30 s a search.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from capacity_truth import Cell, Numbers, closed_queue, search

from fmbench import SLO, Benchmark, CapacityAnswer, Concurrency, Prompt
from fmbench.deployers import Simulator
from fmbench.simulator import Queueing

SCALE = 8
"""The limit on p95, in mean times of service."""


def scaled(seconds: float, load: float, requests: int, seed: int) -> Numbers:
    """The closed queue of ``capacity_truth``, whose service takes 0.1 s, with another mean."""
    return closed_queue(load, requests, seed) * (seconds / 0.1)


def over_sockets(seconds: float, seed: int, folder: Path) -> CapacityAnswer:
    """One search, deployed and driven as a user's."""
    benchmark = Benchmark(
        deployers=Simulator(service=Queueing(service_seconds=seconds, servers=2, seed=seed)),
        prompts=[Prompt(id=str(number), text=f"what is {number}", tokens=3, max_new_tokens=1) for number in range(500)],
        loads=Concurrency(1),
    )
    capacity = benchmark.find_capacity(SLO(latency_p95_seconds=SCALE * seconds), directory=folder / str(seed))
    return capacity.answers[0]


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--service-seconds", type=float, default=0.02)
    asked = parser.parse_args()
    limit = SCALE * asked.service_seconds
    cell = Cell("closed M/M/2", partial(scaled, asked.service_seconds), "latency_p95_seconds", limit, whole=True, start=1.0)
    truth = next(n for n in range(1, 1000) if np.quantile(cell.latencies(n + 1, 400_000, 1)[8000:], 0.95) > limit)
    print(f"truth: concurrency {truth} keeps p95 within {limit:g} s")
    found: dict[str, list[CapacityAnswer]] = {"virtual time": [search(cell, seed) for seed in range(asked.runs)]}
    with tempfile.TemporaryDirectory() as folder:
        found["real sockets"] = []
        for seed in range(asked.runs):
            found["real sockets"].append(over_sockets(asked.service_seconds, seed, Path(folder)))
            print(found["real sockets"][-1].sentence, flush=True)
    for name, answers in found.items():
        loads = [answer.load for answer in answers if answer.load is not None]
        right = sum(abs(load - truth) <= 1 for load in loads)
        covers = sum((answer.low or 0) <= truth <= (answer.high or 0) for answer in answers)
        print(
            f"{name}: {sorted(loads)}; right (or one off) {right} of {asked.runs}, interval covers {covers}, "
            f"median {median(answer.requests for answer in answers):,.0f} requests"
        )


if __name__ == "__main__":
    main()
