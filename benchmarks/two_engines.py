"""One small model under two real engines: llama.cpp, and transformers' own server with continuous batching.

Usage: python benchmarks/two_engines.py [--requests 140] [--concurrency 1 4 8] [--out FOLDER]     (or nox -s transformers)

The engines share nothing but the weights and the tokenizer: another server, another dialect of the protocol, other batching.
Replies have a forced length, so that what they are asked for is the same work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from fmbench import Benchmark, Concurrency, Experiment, Parameters, Result
from fmbench.deployers import LlamaCpp, Process
from fmbench.deployers.tiny_llama import make_tiny_llama
from fmbench.invokers import OpenAI
from fmbench.prompts import PythonTopics

NEW_TOKENS = 32
BLOCKS, BLOCK_TOKENS, BATCH_TOKENS = 256, 32, 512
"""Transformers' cache of keys and values: 8,192 tokens."""


def llama_cpp(slots: int) -> LlamaCpp:
    """The reference: as many slots as there will be requests in flight."""
    extra = {"ignore_eos": True, "cache_prompt": False, "timings_per_token": True}
    return LlamaCpp(slots=slots, name="llama.cpp", invoker=OpenAI(extra=extra, keep_alive=False))


def transformers_serve(model: Path, home: Path) -> Process:
    """The other engine, on a free port; offline, and with one thread, as the reference has."""
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit('transformers is not installed beside this Python: run "nox -s transformers"')
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    (home / "hub").mkdir()  # it lists its models from there
    batching = ["--continuous-batching", "--cb-num-blocks", str(BLOCKS), "--cb-block-size", str(BLOCK_TOKENS)]
    batching += ["--cb-max-batch-tokens", str(BATCH_TOKENS)]
    return Process(
        [program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", *batching],
        url=f"http://127.0.0.1:{port}",
        model=str(model),
        name="transformers",
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"},
        # It refuses fields that it does not know; this one is JSON in a string.
        invoker=OpenAI(extra={"generation_config": json.dumps({"min_new_tokens": NEW_TOKENS, "do_sample": True})}),
        tokenizer=model,
    )


def main() -> None:
    """Measure both and print the figures."""
    parser = argparse.ArgumentParser(description="One small model under llama.cpp and under transformers serve.")
    parser.add_argument("--requests", type=int, default=140)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--out", type=Path, help="the run's folder; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "huggingface"
        home.mkdir()
        benchmark = Benchmark(
            name="two engines",
            deployers=[llama_cpp(max(options.concurrency)), transformers_serve(make_tiny_llama(), home)],
            prompts=PythonTopics(options.requests),
            loads=[Concurrency(n, requests=options.requests) for n in options.concurrency],
            parameters=Parameters(max_new_tokens=NEW_TOKENS, temperature=0.8, seed=7),
        )
        show(benchmark.run(options.out or Path(folder) / "run"))


def show(result: Result) -> None:
    """The figures, and whether every reply was complete and as long as asked for."""
    for deployment in result.deployments:
        if deployment.error is not None:
            raise SystemExit(f"{deployment.name}: {deployment.error['message']}")
    headings = ("ok", "tokens", "TTFT p50", "TTFT p95", "TPOT p50", "latency p50", "latency p95", "req/s", "tok/s")
    print(f"{'milliseconds':<28}" + "".join(f"{heading:>13}" for heading in headings))
    for experiment in result.experiments:
        print(f"{experiment.name:<28}" + "".join(f"{cell:>13}" for cell in cells(experiment)))
    for check in result.validity:
        if check.verdict != "pass":
            print(f"{check.verdict}: {check.experiment or 'the run'}: {check.name}: {check.finding}")
    failed = [experiment.name for experiment in result.experiments if experiment.counts["ok"] != experiment.planned]
    if failed:
        raise SystemExit(f"not every request succeeded: {', '.join(failed)}")


def cells(experiment: Experiment) -> list[str]:
    """One row."""
    lengths = experiment.completion_tokens
    times = [experiment.ttft.p50, experiment.ttft.p95, experiment.tpot.p50, experiment.latency.p50, experiment.latency.p95]
    counts = [str(experiment.counts["ok"]), f"{lengths.minimum:.0f}..{lengths.maximum:.0f}" if lengths.count else "-"]
    rates = [experiment.tps, experiment.output_throughput]
    return [
        *counts,
        *("-" if one is None else f"{one * 1000:.1f}" for one in times),
        *("-" if one is None else f"{one:.1f}" for one in rates),
    ]


if __name__ == "__main__":
    main()
