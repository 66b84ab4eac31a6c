"""What a run costs beside its requests: the time of a one-request run, whole process, and the memory of one of 512 streams.

    python benchmarks/start_up.py [--runs 5] [--streams 512]

Each run is a process of its own, without reporters, against a server on this machine. The time is that of the process from
its start to its end, less the request's own latency; the memory is its greatest resident set, as the operating system counts
it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--child", nargs=3, metavar=("URL", "STREAMS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        url, streams, folder = options.child
        one_run(url, int(streams), Path(folder))
        return
    from fmbench.testing import FakeServer  # noqa: PLC0415 - not in the child, whose imports are what is measured

    with FakeServer(ttft_seconds=0.02, itl_seconds=0.01, tokens=32) as server:
        small = [child(server.url, 1) for _ in range(options.runs)]
        large = child(server.url, options.streams)
    seconds, busy, memory = (median(column) for column in zip(*small, strict=True))
    print(f"one request: {seconds:.2f} s beyond it, {busy:.2f} s of a processor (medians of {options.runs} processes)")
    print(f"one request: {memory:.0f} MB")
    print(f"{options.streams} streams: {large[2]:.0f} MB")


def child(url: str, streams: int) -> tuple[float, float, float]:
    """One process: seconds beyond its slowest request, seconds of a processor, and its greatest memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, __file__, "--child", url, str(streams), f"{folder}/run"]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_installed())
        whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    latency, memory = map(float, told.stdout.split())
    return whole - latency, busy, memory


def _installed() -> dict[str, str]:
    """The environment, so that bytecode is kept, as an installer does for the package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def one_run(url: str, streams: int, folder: Path) -> None:
    """The run: four requests a stream, or one in all."""
    from fmbench import Benchmark, Concurrency, Parameters, Prompt  # noqa: PLC0415 - only the child is measured
    from fmbench.deployers import ExistingEndpoint  # noqa: PLC0415

    requests = 1 if streams == 1 else 4 * streams
    result = Benchmark(
        deployers=ExistingEndpoint(url, name="server", model="model"),
        prompts=[Prompt(id=str(number), text=f"prompt {number}") for number in range(min(requests, streams))],
        loads=Concurrency(streams, requests=requests),
        parameters=Parameters(max_new_tokens=32),
        warmup=0,
    ).run(folder)
    print(result.experiments[0].latency.maximum or 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
