"""The simulated inference server, in a child process."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Endpoint, Run, checked
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.serving import Server, free_port, serving
from fmbench.invokers import OpenAI
from fmbench.simulator import Batching, Faults, ServerOptions, facts, model_of
from fmbench.simulator.child import command

__all__ = ["Simulator"]

STOP_SECONDS = 5.0
MODEL = "simulated"


@checked
@dataclass(frozen=True, config=STRICT)
class Simulator(Priced):
    """Serves a model of an inference server over HTTP, in a child process; its figures are labelled simulated.

    It speaks OpenAI's protocols, TGI and SageMaker's runtime, and logs the true time of every token that it sends.

    Args:
        service: How it spends its time: ``Batching``, ``Fixed`` or ``Queueing`` of ``fmbench.simulator``, one of their names,
            or ``{"fixed": {"ttft_seconds": 0.05, "itl_seconds": 0.01}}``.
        faults: What goes wrong on purpose: the share of requests by the fault's name.
        fault_seed: Decides which requests.
        reply_tokens: After how many tokens the model ends by itself; ``None`` for never.
        log: Where the truth is written; ``logs/NAME.truth.jsonl`` in the run's folder by default.
        port: Where to listen; without one, any that is free.
        instance_type: What it is said to run on.
        instance_count: How many of them.
        ready_seconds: How long starting may take.
        core: The processor it keeps to; any by default.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("log", "tokenizer")

    service: Any = field(default_factory=Batching, kw_only=True)
    faults: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    fault_seed: int = field(default=0, kw_only=True)
    reply_tokens: PositiveInt | None = field(default=None, kw_only=True)
    log: Path | None = field(default=None, kw_only=True)
    port: Annotated[int, Field(ge=1, le=65535)] | None = field(default=None, kw_only=True)
    instance_type: str | None = field(default=None, kw_only=True)
    instance_count: PositiveInt | None = field(default=None, kw_only=True)
    ready_seconds: PositiveFloat = field(default=30.0, kw_only=True)
    core: NonNegativeInt | None = field(default=None, kw_only=True)

    @field_validator("core")
    @classmethod
    def _is_here(cls, core: int | None) -> int | None:
        if core is not None and core >= (count := os.cpu_count() or 1):
            raise ValueError(f"there is no processor {core}: the last one is {count - 1}")
        return core

    @field_validator("service")
    @classmethod
    def _is_a_model(cls, service: Any) -> Any:
        try:
            return model_of(service)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("service: ")) from None

    @field_validator("faults")
    @classmethod
    def _are_faults(cls, faults: Mapping[str, float]) -> Mapping[str, float]:
        try:
            return Faults(rates=faults).rates
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @property
    def label(self) -> str:
        """The name, or what it is."""
        return self.name or "simulator"

    def describe(self) -> dict[str, Any]:
        """What is known of it: first, that it is a simulation."""
        told: dict[str, Any] = {**facts(self.service), "start_limit_seconds": self.ready_seconds}
        if self.faults:
            told["faults"] = dict(self.faults)
        for name in ("reply_tokens", "instance_type", "instance_count"):
            if (value := getattr(self, name)) is not None:
                told[name] = value
        return {**told, **self.price_facts()}

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Start it, and yield it once it answers.

        Raises:
            DeployError: the port is taken, or the server ended while starting.
        """
        log = self.log or run.directory / "logs" / f"{self.label}.truth.jsonl"
        options = ServerOptions(
            service=self.service,
            port=self.port or free_port(),
            log=log.absolute(),
            faults=Faults(rates=self.faults, seed=self.fault_seed),
            reply_tokens=self.reply_tokens,
            core=self.core,
        )
        server = Server(
            name=self.label,
            command=command(options),
            url=f"http://127.0.0.1:{options.port}",
            ready="/health",
            ready_seconds=self.ready_seconds,
            grace_seconds=STOP_SECONDS,
        )
        async with serving(run, server):
            yield Endpoint(
                name=self.label,
                url=server.url,
                model=MODEL,
                facts=self.describe(),
                invoker=self.invoker or OpenAI(),
                tokenizer=self.tokenizer,
            )
