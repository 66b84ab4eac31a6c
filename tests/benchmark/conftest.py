"""Candidates that live in this process: real runs, threads and files, but no network."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from fmbench.errors import DeployError, InvokeError
from fmbench.interfaces import Endpoint
from fmbench.types import Completion, Delta, Prompt, Request, Usage

EVENTS = []


@dataclass(frozen=True)
class Here:
    """A deployer that brings up nothing, and remembers what was asked of it."""

    name: str = "here"
    fails: str = ""
    fails_leaving: str = ""
    seconds: float = 0.0
    exclusive: str | None = None
    usd_per_hour: float | None = None
    invoker: object = field(default=None, compare=False)

    def describe(self):
        return {} if self.usd_per_hour is None else {"usd_per_hour": self.usd_per_hour}

    @asynccontextmanager
    async def deploy(self, run):
        EVENTS.append(("enter", self.name))
        await anyio.sleep(self.seconds)
        if self.fails:
            raise DeployError(self.fails)
        try:
            yield Endpoint(name=self.name, url="in://process", model="m", facts=self.describe(), invoker=self.invoker)
        finally:
            async with run.undoing():
                await anyio.sleep(0.01)
                EVENTS.append(("leave", self.name))
        if self.fails_leaving:
            raise RuntimeError(self.fails_leaving)


@dataclass(frozen=True)
class Echo:
    """An invoker whose model repeats the prompt, word by word."""

    seconds: float = 0.001
    usage: bool = True
    refuse: str = ""
    fail: str = ""

    @asynccontextmanager
    async def connect(self, endpoint, *, concurrency):
        if self.refuse:
            raise InvokeError("connect", self.refuse)
        EVENTS.append(("connect", endpoint.name, concurrency))
        yield self

    def encode(self, prompt, parameters):
        return Request(payload={"inputs": prompt.text, "parameters": parameters.given()})

    async def send(self, request, exchange):
        exchange.sent()
        EVENTS.append(("send", exchange.id))
        if self.fail:
            raise InvokeError("server", self.fail, 500)
        for word in request.payload["inputs"].split():
            await anyio.sleep(self.seconds)
            exchange.piece(word + " ")

    def decode(self, pieces, head):
        usage = Usage(prompt_tokens=len(pieces), completion_tokens=len(pieces)) if self.usage else None
        deltas = [Delta(index, text=piece) for index, piece in enumerate(pieces)]
        return Completion(deltas=deltas, streamed=True, finish_reason="stop", usage=usage)


@pytest.fixture
def events():
    EVENTS.clear()
    return EVENTS


@pytest.fixture
def prompts():
    return [Prompt(id=f"p{number}", text=f"word number {number}") for number in range(20)]


@pytest.fixture
def here():
    return Here


@pytest.fixture
def echo():
    return Echo
