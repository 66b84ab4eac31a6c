"""Any SDK is measured in five lines: one function that yields what arrives, or one that blocks and returns the reply.

Usage: python any_sdk.py FOLDER
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from fmbench import Benchmark, Case, Concurrency, Parameters, Prompt, Usage
from fmbench.invokers import from_call, from_stream
from fmbench.testing import InProcess

PROMPTS = [Prompt(id=f"p{number}", text=f"Tell me about the number {number}.") for number in range(20)]


async def streamed(prompt: Prompt, parameters: Parameters) -> AsyncIterator[str | Usage]:
    """What an asynchronous SDK would do: `async for chunk in client.stream(...)`."""
    words = (prompt.text or "").split()[: parameters.max_new_tokens]
    for word in words:
        await anyio.sleep(0.002)
        yield word + " "
    yield Usage(prompt_tokens=len(words), completion_tokens=len(words))


def blocking(prompt: Prompt, parameters: Parameters) -> str:
    """What a blocking SDK would do: `return client.invoke(...)`."""
    time.sleep(0.005)
    return " ".join((prompt.text or "").split()[: parameters.max_new_tokens])


def main(folder: str) -> None:
    """Measure both."""
    parameters = Parameters(max_new_tokens=5)
    cases = [
        Case(
            deployer=InProcess(),
            prompts=PROMPTS,
            load=Concurrency(4, requests=20),
            invoker=invoker,
            parameters=parameters,
            name=name,
        )
        for name, invoker in (("streamed", from_stream(streamed)), ("blocking", from_call(blocking)))
    ]
    result = Benchmark(cases=cases).run(Path(folder))
    for experiment in result.experiments:
        print(f"{experiment.name}: latency p50 {experiment.latency.p50} s, TTFT p50 {experiment.ttft.p50} s")


if __name__ == "__main__":
    main(sys.argv[1])
