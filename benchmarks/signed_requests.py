"""How many signed requests a second one core carries: SageMaker's InvokeEndpoint as fmbench sends it.

    python benchmarks/signed_requests.py [--runs 3] [--streams 64] [--requests 40000]

The truth server (``truth_server.c``) runs on core 0 and answers at once, whatever it is asked; the client signs, sends and
decodes on core 1. Beside the rate stand the rate for each second of processor time, which other work on the core does not
change as much, what signing took, and all of it without signing. No signature is checked here: that they are right the tests
hold against botocore and the offline AWS. Ends with status 1 below 5,000 requests a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import orjson
from truth import TruthServer, compiled

from fmbench import Benchmark, Concurrency, Endpoint, Parameters, Prompt, Run
from fmbench.invokers import OpenAI, SageMaker
from fmbench.recording import read_table

ASKED = 5_000
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class InARegion:
    """The truth server, said to be an endpoint of SageMaker's."""

    server: TruthServer
    name: str = "truth"

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Yield it under the path of an endpoint's."""
        async with self.server.deploy(run) as endpoint:
            yield replace(endpoint, url=f"{endpoint.url}/endpoints/truth", facts={"region": "us-east-1"})


def child(streams: int, requests: int, *, signed: bool) -> dict[str, float]:
    """One run, on the client's core."""
    os.environ |= KEYS
    with tempfile.TemporaryDirectory() as name, compiled() as program:
        folder = Path(name)
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {1})
        Benchmark(
            deployers=InARegion(TruthServer(program, folder / "log", ttft_us=0, itl_us=0, tokens=8)),
            prompts=[Prompt(id=str(number), text=f"prompt {number}", tokens=3) for number in range(2000)],
            loads=Concurrency(streams, requests=requests),
            invoker=SageMaker(dialect="openai", stream=False) if signed else OpenAI(stream=False),
            parameters=Parameters(max_new_tokens=8),
            keep_text=False,
        ).run(folder / "run")
        [experiment] = orjson.loads((folder / "run" / "run.json").read_bytes())["experiments"]
        table = read_table(folder / "run")
        if set(table.column("status").to_pylist()) != {"ok"}:
            raise SystemExit(f"not all requests succeeded: {set(table.column('error_message').to_pylist())}")
        signing = [value for value in table.column("sign_ns").to_pylist() if value is not None]
        return {
            "requests/s": requests / experiment["cpu"]["wall_seconds"],
            "requests per CPU second": requests / experiment["cpu"]["process_seconds"],
            "signing p50, \u00b5s": float(np.median(signing)) / 1e3 if signing else 0.0,
        }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--child", choices=["signed", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(orjson.dumps(child(options.streams, options.requests, signed=options.child == "signed")).decode())
        return 0
    seen: dict[str, list[dict[str, float]]] = {"signed": [], "plain": []}
    for _ in range(options.runs):
        for kind, runs in seen.items():  # in turn, so that both have the same neighbours
            load = ["--streams", str(options.streams), "--requests", str(options.requests)]
            done = subprocess.run([sys.executable, __file__, "--child", kind, *load], check=True, stdout=subprocess.PIPE)
            runs.append(orjson.loads(done.stdout.splitlines()[-1]))
    for kind, runs in seen.items():
        print(f"{kind}: " + ", ".join(f"{name} {median(run[name] for run in runs):,.0f}" for name in runs[0]))
    reached = median(run["requests/s"] for run in seen["signed"])
    print(f"asked for {ASKED:,}: {'kept' if reached >= ASKED else 'not kept'}")
    return 0 if reached >= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
