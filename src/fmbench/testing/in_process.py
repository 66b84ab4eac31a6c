"""An endpoint and a model in this process: a whole run without a network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from fmbench import (
    Completion,
    Delta,
    DeployError,
    Endpoint,
    Exchange,
    Head,
    InvokeError,
    Parameters,
    Prompt,
    Request,
    Run,
    Usage,
)

__all__ = ["Echo", "InProcess"]


@dataclass(frozen=True)
class Echo:
    """An invoker whose model repeats the prompt word by word; on a virtual clock too.

    Args:
        ttft_seconds: Until the first word.
        itl_seconds: Between words.
        fail_kind: Every request fails with this kind, after its first word.
        usage: Whether the model counts tokens (it counts words).
    """

    ttft_seconds: float = 0.002
    itl_seconds: float = 0.001
    fail_kind: str | None = None
    usage: bool = True

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[Echo]:  # noqa: ARG002
        """It is its own session."""
        yield self

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        text = prompt.text if prompt.text is not None else str(list(prompt.messages or ()))
        return Request(payload={"inputs": text, "parameters": parameters.given()})

    async def send(self, request: Request, exchange: Exchange) -> None:
        exchange.sent()
        await anyio.sleep(self.ttft_seconds)
        for number, word in enumerate(request.payload["inputs"].split()):
            if number:
                await anyio.sleep(self.itl_seconds)
            exchange.piece(f"{word} ")
            if self.fail_kind is not None:
                raise InvokeError(self.fail_kind, "it was asked to fail", 500)

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:  # noqa: ARG002 - a Session's
        deltas = [Delta(index, text=piece) for index, piece in enumerate(pieces)]
        usage = Usage(prompt_tokens=len(pieces), completion_tokens=len(pieces)) if self.usage else None
        return Completion(deltas=deltas, streamed=True, finish_reason="stop", usage=usage)


@dataclass(frozen=True)
class InProcess:
    """A deployer that brings up nothing.

    Args:
        name: The deployment's name.
        fails: Deploying fails with this message.
        facts: What the endpoint is said to be.
        invoker: Who speaks to it.
    """

    name: str = "in-process"
    fails: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    invoker: Any = field(default_factory=Echo)

    def describe(self) -> Mapping[str, Any]:
        """What is known of it."""
        return self.facts

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Yield an endpoint."""
        if self.fails is not None:
            raise DeployError(self.fails)
        try:
            yield Endpoint(name=self.name, url="in-process://", model="echo", facts=self.facts, invoker=self.invoker)
        finally:
            async with run.undoing():
                await anyio.lowlevel.checkpoint()
