"""The public face as a type checker sees it; the lines marked as wrong must stay wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmbench import (
    SLO,
    Advice,
    Benchmark,
    Case,
    Completion,
    Concurrency,
    Delta,
    Deployer,
    Endpoint,
    Exchange,
    Head,
    Invoker,
    Parameters,
    Prompt,
    PromptSource,
    Reporter,
    Request,
    Result,
    Run,
    Session,
)
from fmbench.deployers import ExistingEndpoint, LlamaCpp
from fmbench.invokers import OpenAI
from fmbench.prompts import Dataset


@dataclass(frozen=True)
class MyDeployer:
    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        async with run.undoing():
            yield Endpoint(name="mine", url="http://x")


class MyPrompts:
    def __iter__(self) -> Iterator[Prompt]:
        yield Prompt(id="a", text="b")


class MySession:
    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        return Request(payload=prompt.text)

    async def send(self, request: Request, exchange: Exchange) -> None:
        exchange.sent()
        exchange.piece(b"x")

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        return Completion(deltas=[Delta(0, text="x")], streamed=True)


class MyInvoker:
    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[MySession]:
        yield MySession()


class MyReporter:
    def report(self, result: Result, directory: Path) -> Sequence[Path]:
        return []


deployer: Deployer = MyDeployer()
source: PromptSource = MyPrompts()
listed: PromptSource = [Prompt(id="a", text="b")]
session: Session = MySession()
invoker: Invoker = MyInvoker()
reporter: Reporter = MyReporter()
built_in: tuple[Deployer, Deployer, Invoker, PromptSource] = (ExistingEndpoint("http://x"), LlamaCpp(), OpenAI(), Dataset("x"))

benchmark = Benchmark(
    deployers=[deployer, "llamacpp"], prompts={"a": source, "b": listed}, loads=Concurrency(1), invoker=invoker
)
cases = Benchmark(
    cases=[Case(deployer=deployer, prompts=listed, load=Concurrency(1))], reporters=["csv", reporter], slo=SLO(error_rate=0.1)
)


def use(result: Result) -> float | None:
    advice: Advice = result.advise(SLO(latency_p95_seconds=5), requests_per_minute=600)
    print(advice.sentence)
    return result.experiments[0].ttft.p95


wrong_deployer: Deployer = MyReporter()  # type: ignore[assignment]
wrong_id = Prompt(id=3, text="x")  # type: ignore[arg-type]
Benchmark(deployer=deployer)  # type: ignore[call-arg]
Concurrency("4")  # type: ignore[arg-type]
