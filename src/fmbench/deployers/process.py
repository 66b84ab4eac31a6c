"""A server of the user's own, such as ``vllm serve``, in a child process."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from fmbench import Endpoint, Run
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.serving import Server, serving
from fmbench.invokers import OpenAI

__all__ = ["Process"]


@dataclass(frozen=True, config=STRICT)
class Process(Priced):
    """Starts a command, waits until it answers, and ends it with all that it started.

    Args:
        command: A command line, or its words. No shell is involved.
        url: Where it will answer.
        model: The name requests ask for.
        ready: The path that answers 200 when it is up.
        ready_seconds: How long that may take.
        env: Environment variables beside ours; never shown or written down.
        facts: What is known of it, such as the instance type.
        exclusive: Deployments that share this word are up one after another; ``None`` lets it be up beside others.
    """

    command: str | Sequence[str]
    url: str = field(kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    ready: str = field(default="/health", kw_only=True)
    ready_seconds: float = field(default=600.0, kw_only=True)
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    exclusive: str | None = field(default="host", kw_only=True)

    def describe(self) -> dict[str, Any]:
        """What is known of it."""
        return {"start_limit_seconds": self.ready_seconds, **self.facts, **self.price_facts()}

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Start it, and yield it once it is ready.

        Raises:
            DeployError: its port is taken, it ended while starting, or it was not ready in time.
        """
        words = shlex.split(self.command) if isinstance(self.command, str) else list(self.command)
        name = self.name or os.path.basename(words[0])  # noqa: PTH119 - a word, not a path
        server = Server(
            name=name,
            command=words,
            url=self.url,
            ready=self.ready,
            ready_seconds=self.ready_seconds,
            environment={**os.environ, **self.env},
        )
        async with serving(run, server):
            yield Endpoint(
                name=name,
                url=self.url,
                model=self.model,
                facts=self.describe(),
                invoker=self.invoker or OpenAI(),
                tokenizer=self.tokenizer,
            )
