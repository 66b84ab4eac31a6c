"""Results on disk, made by real runs in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fmbench import SLO, Benchmark, Concurrency, Parameters, Prompt, Result
from fmbench.testing.in_process import Echo, InProcess

__all__ = ["Kind", "made_up_result"]

Kind = Literal["ordinary", "all_failed", "empty"]


def made_up_result(directory: Path, kind: Kind = "ordinary") -> Result:
    """Make a run and return its result.

    Args:
        directory: An empty or absent folder.
        kind: ``ordinary`` has two deployments at two loads; in ``all_failed`` every request fails; ``empty`` has no record.
    """
    if kind == "ordinary":
        deployers = [
            InProcess(name, facts={"usd_per_hour": price, "instance_type": name})
            for name, price in (("small", 1.0), ("big", 4.0))
        ]
        loads = [Concurrency(n, requests=20) for n in (1, 4)]
    elif kind == "all_failed":
        deployers, loads = [InProcess("failing", invoker=Echo(fail_kind="server"))], [Concurrency(2, requests=6)]
    else:
        deployers, loads = [InProcess("absent", fails="there is no capacity")], [Concurrency(1, seconds=1)]
    return Benchmark(
        name=f"made up, {kind}",
        deployers=deployers,
        prompts=[Prompt(id=f"p{number}", text="word " * (3 + number % 9)) for number in range(20)],
        loads=loads,
        parameters=Parameters(max_new_tokens=16),
        slo=SLO(latency_p50_seconds=1),
    ).run(directory)
