"""Two configurations of a real engine, measured and compared; the command `fmbench quickstart` as a script.

Needs the extra "local". Usage: python quickstart.py FOLDER
"""

from __future__ import annotations

import sys

from fmbench import SLO, Benchmark, Concurrency, Parameters
from fmbench.deployers import LlamaCpp
from fmbench.prompts import PythonTopics


def main(folder: str) -> None:
    """Measure, and print the answer."""
    benchmark = Benchmark(
        deployers=[
            LlamaCpp(slots=1, name="one-slot", usd_per_hour=0.10),
            LlamaCpp(slots=4, name="four-slots", usd_per_hour=0.10),
        ],
        prompts=PythonTopics(40),
        loads=[Concurrency(n, requests=40) for n in (1, 4)],
        parameters=Parameters(max_new_tokens=16, temperature=0.8, seed=1),
        reporters=["csv", "html"],
    )
    result = benchmark.run(folder)
    print(result.summary[["experiment", "tps", "latency_p50_seconds", "ttft_p50_seconds"]].to_string(index=False))
    print(result.advise(SLO(latency_p50_seconds=1), requests_per_minute=3000))


if __name__ == "__main__":
    main(sys.argv[1])
