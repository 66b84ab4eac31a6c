"""Whether Poisson arrivals are Poisson, as planned and as sent, with one worker and with several.

    python benchmarks/arrivals.py [--per-second 200] [--seconds 20] [--workers 1 2 4] [--seed 1]

It drives ``fmbench.testing.FakeServer``, in a process of its own. For each number of workers it prints, for the due times and
for the times when the requests were sent: the index of dispersion of the counts in half a second (1 for a Poisson process), the
Kolmogorov-Smirnov test of the gaps against the exponential distribution (statistic and p), and the gaps' autocorrelation at
lag 1 (0), with the bounds within which 99 of 100 Poisson processes lie. It ends with status 1 where a figure lies outside.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fmbench import Benchmark, Parameters, Poisson, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.invokers import OpenAI
from fmbench.recording import read_table

BIN_SECONDS = 0.5
Z = 2.576
"""Two-sided, 99 %."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"Poisson({options.per_second:g}, seed={options.seed}, seconds={options.seconds:g})")
    print(f"{'workers':>8}{'times':>8}{'requests':>10}{'dispersion':>22}{'KS':>10}{'p':>10}{'lag-1':>22}{'  sent-due p99':>16}")
    good, plans = True, []
    with server() as url:
        for workers in options.workers:
            due, sent = one_run(url, options, workers)
            plans.append(np.diff(due))
            late = float(np.quantile(sent - due, 0.99)) / 1e6
            for name, times in (("due", due), ("sent", np.sort(sent))):
                good &= shown(workers, name, times / 1e9, late)
    same = all(np.array_equal(plans[0], plan) for plan in plans)
    print(f"the due times are {'the same' if same else 'NOT the same'} for every number of workers")
    return 0 if good and same else 1


@contextmanager
def server() -> Iterator[str]:
    """A server in a process of its own, so that it and a worker do not take turns under one lock; its address."""
    program = (
        "import sys\n"
        "from fmbench.testing import FakeServer\n"
        "with FakeServer(tokens=1) as server: print(server.url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def one_run(url: str, options: argparse.Namespace, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """When the measured requests were due and sent, in nanoseconds, in the order in which they were due."""
    with tempfile.TemporaryDirectory() as folder:
        Benchmark(
            deployers=ExistingEndpoint(url, model="fake"),
            prompts=[Prompt(id=str(number), text="a b c") for number in range(100)],
            loads=Poisson(options.per_second, seed=options.seed, seconds=options.seconds),
            invoker=OpenAI(),
            parameters=Parameters(max_new_tokens=1),
            workers=workers,
        ).run(Path(folder) / "run")
        rows = read_table(Path(folder) / "run").to_pylist()
    measured = sorted((row["due_ns"], row["sent_ns"]) for row in rows if row["phase"] == "measured")
    return np.array([due for due, _ in measured]), np.array([sent for _, sent in measured])


def shown(workers: int, name: str, times: np.ndarray, late_ms: float) -> bool:
    """Print one row; whether each figure lies within its bounds."""
    gaps = np.diff(times)
    edges = np.arange(times[0], times[-1], BIN_SECONDS)
    counts = np.histogram(times, edges)[0]
    dispersion, width = counts.var(ddof=1) / counts.mean(), Z * math.sqrt(2 / (len(counts) - 1))
    statistic, p = exponential(gaps)
    lag, bound = float(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]), Z / math.sqrt(len(gaps))
    told = f"{dispersion:.2f} ({1 - width:.2f} to {1 + width:.2f})"
    correlated = f"{lag:+.3f} (± {bound:.3f})"
    late = f"{late_ms:.2f} ms" if name == "sent" else ""
    print(f"{workers:>8}{name:>8}{len(times):>10}{told:>22}{statistic:>10.4f}{p:>10.3f}{correlated:>22}{late:>16}", flush=True)
    return abs(dispersion - 1) <= width and p >= 0.01 and abs(lag) <= bound


def exponential(gaps: np.ndarray) -> tuple[float, float]:
    """The Kolmogorov-Smirnov statistic of the gaps against the exponential distribution of their mean, and its p.

    The mean is the sample's own, so that the usual p would be too kind: this is Lilliefors' test, its p by simulation of
    2,000 samples.
    """
    draw = np.random.default_rng(0)
    found = distance(gaps)
    simulated = [distance(draw.exponential(size=len(gaps))) for _ in range(2000)]
    return found, float(np.mean([one >= found for one in simulated]))


def distance(gaps: np.ndarray) -> float:
    """The largest difference between the sample's distribution and the exponential one of the same mean."""
    ordered = np.sort(gaps)
    expected = 1 - np.exp(-ordered / ordered.mean())
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


if __name__ == "__main__":
    sys.exit(main())
