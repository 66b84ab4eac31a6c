"""The capacity search against known truth: hundreds of searches over queueing models, and how often they were right.

    python benchmarks/capacity_truth.py [--runs 400] [--cells NAME …] [--jobs 2]

The truth is a closed form for M/M/1, else a run a hundred times as long as a probe, bisected. A rate is right within 5 % of
the truth, a concurrency exactly or by one. Everything is seeded.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmbench import SLO
from fmbench.advice import CapacityAnswer, Search, Trial, Values, answer_of, evidence_of, limits_of, requests_for
from fmbench.simulator import Batching, Queueing, serve

Numbers = NDArray[np.float64]
WARMUP_SHARE = 0.1
LENGTHS = (40, 160)


@dataclass(frozen=True)
class Cell:
    """One service model, one kind of load, one limit."""

    name: str
    latencies: Callable[[float, int, int], Numbers]
    """Of a load, so many requests, from a seed: in the order in which they were due, warm-up first."""
    limit: str
    seconds: float
    whole: bool
    start: float
    exact: float | None = None
    """The capacity, where there is a closed form."""


def queue(service: Numbers, gaps: Numbers) -> Numbers:
    """Response times of one server with one queue, by Lindley's recursion."""
    steps = np.concatenate(([0.0], np.cumsum(service[:-1] - gaps[1:])))
    return np.asarray(steps - np.minimum.accumulate(steps) + service)


def single(kind: str, shape: float, load: float, requests: int, seed: int) -> Numbers:
    """One server at which a request takes 0.1 s in the mean; gamma arrivals, Poisson ones where ``shape`` is 1."""
    rng = np.random.default_rng(seed)
    service = rng.exponential(0.1, requests) if kind == "exponential" else np.full(requests, 0.1)
    return queue(service, rng.gamma(shape, 1 / (load * shape), requests))


def several(load: float, requests: int, seed: int) -> Numbers:
    """Four exponential servers with one queue, by fmbench's own model."""
    draw = random.Random(seed)
    at, arrivals = 0.0, []
    for _ in range(requests):
        at += draw.expovariate(load)
        arrivals.append((round(at * 1e9), 10, 1))
    jobs = serve(Queueing(service_seconds=0.1, servers=4, seed=seed), arrivals)
    return np.array([(job.ended_ns or 0) - job.at_ns for job in jobs]) / 1e9


def closed_queue(load: float, requests: int, seed: int) -> Numbers:
    """Two exponential servers with one queue, and ``load`` clients that ask again at once: all but two wait."""
    rng = np.random.default_rng(seed)
    free = [0.0, 0.0]
    service = rng.exponential(0.1, requests)
    ends: list[float] = [0.0] * round(load)  # when each client's last reply came, in the order of its coming
    found = np.empty(requests)
    for number in range(requests):
        due = heapq.heappop(ends)
        begun = max(due, heapq.heappop(free))
        end = begun + service[number]
        heapq.heappush(free, end)
        heapq.heappush(ends, end)
        found[number] = end - due
    return found


def closed_batching(load: float, requests: int, seed: int) -> Numbers:
    """A continuously batching server with replies of 40 to 160 tokens, and ``load`` clients, by fmbench's own model."""
    draw = random.Random(seed)
    service = Batching(batch_limit=16, decode_seconds=0.02, decode_seconds_per_sequence=0.002).start()
    waiting: dict[Any, int] = {}
    found: list[tuple[int, int]] = []
    sent = now = 0

    def send() -> None:
        nonlocal sent
        job = service.submit(now, prompt_tokens=200, output_tokens=draw.randint(*LENGTHS))
        waiting[job] = sent
        sent += 1

    for _ in range(min(round(load), requests)):
        send()
    while waiting:
        for job in service.advance(1 << 62):
            now = job.ended_ns or now
            found.append((waiting.pop(job), now - job.at_ns))
            if sent < requests:
                send()
    return np.array([length for _, length in sorted(found)]) / 1e9


def cells() -> list[Cell]:
    """The grid."""
    return [*_single_server(), *_several_servers(), *_closed()]


SINGLE = (
    *(("M/M/1", "exponential", 1.0), ("M/D/1", "deterministic", 1.0)),
    *(("E4/M/1", "exponential", 4.0), ("bursty G/M/1", "exponential", 0.5)),
)
LIMITS = (("p95", 0.5), ("p95", 1.0), ("p99", 1.0), ("mean", 0.3))


def _single_server() -> Iterator[Cell]:
    for (label, kind, shape), (of, seconds) in product(SINGLE, LIMITS):
        quantile = {"p95": 0.95, "p99": 0.99}.get(of)
        exact = 10 - (1 / seconds if quantile is None else -math.log(1 - quantile) / seconds) if label == "M/M/1" else None
        name = f"{label}, {of} ≤ {seconds:g} s"
        yield Cell(name, partial(single, kind, shape), f"latency_{of}_seconds", seconds, whole=False, start=1.0, exact=exact)


def _several_servers() -> Iterator[Cell]:
    for of, seconds in (("p95", 0.5), ("mean", 0.2)):
        yield Cell(f"M/M/4, {of} ≤ {seconds:g} s", several, f"latency_{of}_seconds", seconds, whole=False, start=4.0)


def _closed() -> Iterator[Cell]:
    for seconds in (0.45, 0.8, 1.5):
        yield Cell(f"closed M/M/2, p95 ≤ {seconds:g} s", closed_queue, "latency_p95_seconds", seconds, whole=True, start=1.0)
    for seconds in (4.5, 7.0, 12.0):
        name = f"closed batching, p95 ≤ {seconds:g} s"
        yield Cell(name, closed_batching, "latency_p95_seconds", seconds, whole=True, start=1.0)


def statistic(cell: Cell, values: Numbers) -> float:
    """The figure that the limit is about."""
    name = cell.limit.split("_")[1]
    return float(values.mean() if name == "mean" else np.quantile(values, int(name[1:]) / 100))


@cache
def long_run(name: str, load: float) -> float:
    """The figure over a run a hundred times as long as a probe of 10,000 (closed batching: of 1,000)."""
    cell = next(one for one in cells() if one.name == name)
    requests = 100_000 if "batching" in name else 400_000 if cell.whole or "M/4" in name else 1_000_000
    return statistic(cell, cell.latencies(load, requests, 987_654)[requests // 50 :])


def truth(cell: Cell) -> float:
    """The highest load at which the figure is within the limit, by closed form or by bisection over long runs."""
    if cell.exact is not None:
        return cell.exact
    low, high = 1.0 if cell.whole else 0.5, 2.0
    while long_run(cell.name, high) <= cell.seconds:
        low, high = high, high * 2
    while high - low > (1 if cell.whole else 0.002 * low):
        middle = float((low + high) // 2) if cell.whole else (low + high) / 2
        low, high = (middle, high) if long_run(cell.name, middle) <= cell.seconds else (low, middle)
    return low


def search(cell: Cell, seed: int) -> CapacityAnswer:
    """One search."""
    slo = SLO(**{cell.limit: cell.seconds})
    draw = random.Random(seed)
    start = cell.start if cell.whole else cell.start * math.exp(draw.uniform(-1, 1))
    plan = Search(
        whole=cell.whole, start=start, least=1.0 if cell.whole else start / 1024, most=4096.0, requests=requests_for(slo),
        max_requests=1_000_000,
    )  # fmt: skip
    trials: list[Trial] = []
    while not isinstance(step := plan.next(trials), str):
        warmup = max(round(step.load) if cell.whole else 10, math.ceil(WARMUP_SHARE * step.requests))
        seconds = cell.latencies(step.load, warmup + step.requests, draw.getrandbits(32))[warmup:]
        values = Values(seconds, np.zeros(len(seconds), bool), open_load=not cell.whole)
        found = tuple(evidence_of(name, limit, values) for name, limit in limits_of(slo).items())
        trials.append(Trial(step.load, step.requests, found))
    about = {"deployment": cell.name, "prompts": "none", "parameters": {}}
    return answer_of(plan, trials, step, about=about, over="concurrency" if cell.whole else "requests/s")


def run_cell(job: tuple[str, int]) -> dict[str, Any]:
    """All searches of a cell."""
    name, runs = job
    began = time.perf_counter()
    cell = next(one for one in cells() if one.name == name)
    known = truth(cell)
    answers = [search(cell, seed) for seed in range(runs)]
    near = [abs(one.load - known) <= (1 if cell.whole else 0.05 * known) for one in answers if one.load is not None]
    covers = [one.low <= known <= one.high for one in answers if one.low is not None and one.high is not None]
    return {
        "cell": name,
        "truth": known,
        "right": sum(near) / runs,
        "covers": sum(covers) / runs,
        "early": sum("narrow" not in one.ended for one in answers) / runs,
        "requests": float(np.median([one.requests for one in answers])),
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    """Run the grid and print a line a cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--cells", nargs="*", default=None, help="parts of cells' names")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    names = [cell.name for cell in cells() if asked.cells is None or any(part in cell.name for part in asked.cells)]
    print("| cell | truth | right | interval covers | ended early | median requests | s |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(asked.jobs) as pool:
        for row in pool.map(run_cell, [(name, asked.runs) for name in names]):
            print(
                f"| {row['cell']} | {row['truth']:.4g} | {row['right']:.1%} | {row['covers']:.1%} | {row['early']:.1%} "
                f"| {row['requests']:,.0f} | {row['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
