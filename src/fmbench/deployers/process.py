"""A server of the user's own, such as ``vllm serve``, in a child process."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, field_validator
from pydantic.dataclasses import dataclass

from fmbench import Endpoint, Run, checked
from fmbench.deployers.addresses import check_root
from fmbench.deployers.masking import shown_command, shown_environment
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.serving import Server, serving
from fmbench.invokers import OpenAI

__all__ = ["Process"]


@checked
@dataclass(frozen=True, config=STRICT)
class Process(Priced):
    """Starts a command, waits until it answers, and ends it with all that it started.

    Args:
        command: A command line, or its words. No shell is involved, and options that sound secret are written down masked;
            ``env`` is the place for a key.
        url: Where it will answer: its root, before ``/v1``.
        model: The name requests ask for.
        ready: The path that answers 200 when it is up.
        ready_seconds: How long that may take.
        stop_seconds: How long it may take to end by itself before it is made to.
        env: Environment variables beside ours. Values are never shown or written down, but for numbers, switches and
            number formats.
        facts: What is known of it, such as the instance type.
        exclusive: Deployments that share this word are up one after another; ``None`` lets it be up beside others.
    """

    command: str | Sequence[str] = field(repr=False)
    url: str = field(kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    ready: str = field(default="/health", kw_only=True)
    ready_seconds: PositiveFloat = field(default=600.0, kw_only=True)
    stop_seconds: NonNegativeFloat = field(default=10.0, kw_only=True)
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    exclusive: str | None = field(default="host", kw_only=True)

    @field_validator("command")
    @classmethod
    def _has_words(cls, command: str | Sequence[str]) -> str | Sequence[str]:
        try:
            words = _words(command)
        except ValueError as error:
            raise ValueError(f"its quotes do not match ({error}); give it as a list of words") from None
        if not words or not words[0]:
            raise ValueError("must name a program")
        return command

    @field_validator("url")
    @classmethod
    def _is_root(cls, url: str) -> str:
        return check_root(url)

    @field_validator("ready")
    @classmethod
    def _is_path(cls, ready: str) -> str:
        if not ready.startswith("/"):
            raise ValueError("must be a path that begins with /")
        return ready

    @property
    def label(self) -> str:
        """The name, or the program's."""
        return self.name or Path(_words(self.command)[0]).name

    def describe(self) -> dict[str, Any]:
        """What is known of it, secrets masked."""
        known: dict[str, Any] = {"command": shown_command(_words(self.command)), "start_limit_seconds": self.ready_seconds}
        if self.env:
            known["environment"] = shown_environment(self.env)
        return {**known, **self.facts, **self.price_facts()}

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Start it, and yield it once it is ready.

        Raises:
            DeployError: there is no such program, its port is taken, it ended while starting, or it was not ready in time.
        """
        server = Server(
            name=self.label,
            command=_words(self.command),
            url=self.url,
            ready=self.ready,
            ready_seconds=self.ready_seconds,
            grace_seconds=self.stop_seconds,
            env=self.env,
        )
        async with serving(run, server):
            yield Endpoint(
                name=self.label,
                url=self.url,
                model=self.model,
                facts=self.describe(),
                invoker=self.invoker or OpenAI(),
                tokenizer=self.tokenizer,
            )


def _words(command: str | Sequence[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command)
