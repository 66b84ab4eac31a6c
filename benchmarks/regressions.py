"""How often `compare` is right: planted regressions that it finds, and regressions that it claims where none was planted.

python benchmarks/regressions.py --runs 400

Two runs of one workload are made up in virtual time: a server that decodes all requests of a batch together, one token a step,
whose steps are the longer the more requests there are, and whose speed drifts (an autoregressive process), so that neighbouring
requests hang together as they do on real servers. The second run's steps are longer by a planted share; that is the truth.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from fmbench.advice.comparing import Asked, compare
from fmbench.advice.observed import Observed, Spread, Workload
from fmbench.metrics import Distribution

DRIFT = 0.15
"""The standard deviation of the logarithm of a step's length."""
CELLS = ((1, 200), (8, 400), (32, 1000))
"""Requests in flight, and how many in all."""


@dataclass(slots=True)
class Request:
    """One request in flight."""

    number: int
    due: float
    prefill: float
    tokens: int
    times: list[float] = field(default_factory=list)


def served(*, streams: int, requests: int, slower: float, memory: float, seed: int) -> list[Request]:
    """A closed load on the made-up server; requests in the order in which they were due.

    Args:
        streams: How many requests are in flight.
        requests: How many there are.
        memory: How much of a step's drift is left to the next.
        slower: What every step is longer by, as a factor.
        seed: Of the server's drift; prompts are the same whatever it is.
    """
    lengths, noise = np.random.default_rng(0), np.random.default_rng(seed)
    work = [(float(lengths.lognormal(-4, 0.4)), int(lengths.integers(10, 40))) for _ in range(requests)]
    clock, drift, begun = 0.0, noise.standard_normal() * DRIFT, 0
    active: list[Request] = []
    done: list[Request] = []
    while len(done) < requests:
        while len(active) < streams and begun < requests:
            active.append(Request(begun, clock, *work[begun]))
            begun += 1
        drift = memory * drift + math.sqrt(1 - memory**2) * DRIFT * noise.standard_normal()
        prefill = sum(one.prefill for one in active if not one.times)
        clock += slower * math.exp(drift) * (0.01 + 0.0005 * len(active) + prefill)
        for one in active:
            one.times.append(clock)
        done += [one for one in active if len(one.times) == one.tokens]
        active = [one for one in active if len(one.times) < one.tokens]
    return sorted(done, key=lambda one: one.number)


def observed(requests: list[Request], streams: int) -> Observed:
    """The run as a comparison looks at it."""
    count = len(requests)
    due, first, last = (
        np.array(values) for values in zip(*((one.due, one.times[0], one.times[-1]) for one in requests), strict=True)
    )
    tokens = np.array([float(one.tokens) for one in requests])
    places = np.arange(count)
    gaps = [np.diff(one.times) for one in requests]
    spreads = {
        "latency": Spread(last - due, places),
        "ttft": Spread(first - due, places),
        "tpot": Spread((last - first) / (tokens - 1), places),
        "itl": Spread(np.concatenate(gaps), np.repeat(places, [len(each) for each in gaps])),
    }
    window = float(last.max() - due.min())
    return Observed(
        name="made up",
        run="made up",
        deployment="made up",
        workload=Workload(prompts="made up", prompts_digest="0", parameters={}, load={"n": streams}),
        facts={},
        verdict="pass",
        reason=None,
        keys=places.astype(np.uint64),
        spreads=spreads,
        distributions={name: Distribution(spread.values.copy(), "s", requests=count) for name, spread in spreads.items()},
        figures={"tps": count / window, "output_throughput": float(tokens.sum()) / window, "error_rate": 0.0},
        reasons={},
        ended=np.ones(count, dtype=np.bool_),
        failed=np.zeros(count, dtype=np.bool_),
        in_flight=float(streams),
        turns={"replies": np.ones(count), "tokens": tokens, "seconds": last - due},
        turns_paired=True,
    )


@dataclass(slots=True)
class Tally:
    """What comparisons of one cell found."""

    runs: int = 0
    claimed: int = 0
    """Comparisons that call anything worse."""
    wrong: int = 0
    """Comparisons that make any claim the truth does not bear out."""
    covered: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)


def tally(*, streams: int, requests: int, planted: float, margin: float, memory: float, runs: int, seed: int) -> Tally:
    """Compare again and again, each time with other drift."""
    seen = Tally()
    truths = {"tps": 1 / (1 + planted) - 1, "output_throughput": 1 / (1 + planted) - 1, "error_rate": 0.0}
    for run in range(runs):
        one, two = (
            observed(
                served(streams=streams, requests=requests, slower=slower, memory=memory, seed=seed + 2 * run + side), streams
            )
            for side, slower in ((0, 1.0), (1, 1.0 + planted))
        )
        comparison = compare([[one]], [[two]], Asked(margin=margin, seed=run))
        seen.runs += 1
        seen.claimed += bool(comparison.regressions)
        seen.wrong += bool(comparison.improvements) or (planted <= margin and bool(comparison.regressions))
        for difference in comparison.differences:
            if difference.low is None or difference.high is None:
                continue
            truth = truths.get(difference.metric, planted)
            seen.covered[difference.metric] += difference.low - 1e-12 <= truth <= difference.high + 1e-12
            seen.found[difference.metric] += difference.verdict == "worse"
    return seen


def main() -> int:
    """Print a row a cell; status 1 where a rate is not kept."""
    parser = argparse.ArgumentParser(description="How often fmbench compare is right.")
    parser.add_argument("--runs", type=int, default=400, help="comparisons a cell")
    parser.add_argument("--memory", type=float, default=0.9, help="how much of the server's drift a step leaves to the next")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows, broken = [], False
    for streams, requests in CELLS:
        for planted, margin in ((0.0, 0.0), (0.05, 0.0), (0.1, 0.05)):
            seen = tally(
                streams=streams,
                requests=requests,
                planted=planted,
                margin=margin,
                memory=asked.memory,
                runs=asked.runs,
                seed=asked.seed * 10**6,
            )
            rows.append(_row(streams, requests, planted, margin, seen))
            # One-sided, at 1 in 1,000: 5 % of so many comparisons, and what chance adds.
            broken |= seen.wrong > 0.05 * seen.runs + 3.1 * math.sqrt(0.05 * 0.95 * seen.runs)
            if not asked.json:
                print(_told(rows[-1]), flush=True)
    if asked.json:
        print(json.dumps(rows, indent=2))
    return int(broken)


def _row(streams: int, requests: int, planted: float, margin: float, seen: Tally) -> dict[str, object]:
    return {
        "streams": streams,
        "requests": requests,
        "planted": planted,
        "margin": margin,
        "comparisons": seen.runs,
        "claimed": seen.claimed / seen.runs,
        "wrong": seen.wrong / seen.runs,
        "coverage": {name: count / seen.runs for name, count in seen.covered.items()},
        "found": {name: count / seen.runs for name, count in seen.found.items() if count},
    }


def _told(row: dict[str, object]) -> str:
    coverage = row["coverage"]
    assert isinstance(coverage, dict)
    kept = ", ".join(f"{name} {share:.3f}" for name, share in coverage.items())
    return (
        f"{row['streams']:>3} in flight, {row['requests']:>4} requests, planted {row['planted']:.0%}, "
        f"margin {row['margin']:.0%}: claimed worse {row['claimed']:.3f}, wrong {row['wrong']:.3f}; intervals hold: {kept}"
    )


if __name__ == "__main__":
    sys.exit(main())
