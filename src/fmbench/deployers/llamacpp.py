"""The real llama.cpp server, in a child process."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

from anyio import to_thread
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Endpoint, Run, checked
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.serving import Server, free_port, serving
from fmbench.deployers.tiny_llama import make_tiny_llama
from fmbench.invokers import OpenAI

__all__ = ["LlamaCpp"]

LAUNCHER = Path(__file__).with_name("llama_server.py")
TINY = "tiny-llama"
STOP_SECONDS = 5.0
PER_TOKEN: dict[str, Any] = {"cache_prompt": False, "timings_per_token": True}
"""Asked of the server by default: no prompt is answered from a cache, and each chunk tells how many tokens there are so far."""


@checked
@dataclass(frozen=True, config=STRICT)
class LlamaCpp(Priced):
    """Serves a GGUF file with llama.cpp (needs the ``local`` extra).

    Args:
        model: The file; without one, a small Llama with random weights is made once and kept in the cache folder.
        slots: How many requests it works on at once.
        threads: How many processor threads it computes with.
        context_tokens: The longest prompt and reply together, for each slot.
        port: Where to listen; without one, any that is free.
        ready_seconds: How long loading may take.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("model", "tokenizer")
    exclusive: ClassVar[str] = "host"

    model: Path | None = None
    slots: PositiveInt = field(default=1, kw_only=True)
    threads: PositiveInt = field(default=1, kw_only=True)
    context_tokens: PositiveInt = field(default=4096, kw_only=True)
    port: Annotated[int, Field(ge=1, le=65535)] | None = field(default=None, kw_only=True)
    ready_seconds: PositiveFloat = field(default=120.0, kw_only=True)

    @field_validator("model")
    @classmethod
    def _exists(cls, model: Path | None) -> Path | None:
        if model is None:
            return None
        file = model.expanduser()
        if not file.is_file():
            raise ValueError(f"{model} does not exist; give a GGUF file, or none for the small model made here")
        return file

    @property
    def label(self) -> str:
        """The name, or one that tells apart what is usually compared."""
        words = [
            self._stem,
            f"{self.slots}-slot" + "s" * (self.slots > 1),
            *([f"{self.threads}-threads"] if self.threads > 1 else []),
        ]
        return self.name or "-".join(words)

    @property
    def _stem(self) -> str:
        return "llamacpp" if self.model is None else self.model.stem

    def describe(self) -> dict[str, Any]:
        """What is known of it.

        Raises:
            ConfigError: the ``local`` extra is not installed.
        """
        if find_spec("xllamacpp") is None:
            raise ConfigError('llamacpp needs the extra "local": pip install "fmbench-harness[local]"')
        return {
            "engine": "llama.cpp",
            "image": f"xllamacpp {version('xllamacpp')}",
            "model_source": "random weights" if self.model is None else str(self.model),
            "slots": self.slots,
            "threads": self.threads,
            "context_tokens": self.context_tokens,
            "start_limit_seconds": self.ready_seconds,
            **self.price_facts(),
        }

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Start the server, and yield it once it answers.

        Raises:
            ConfigError: the ``local`` extra is not installed, or the small model cannot be kept.
            DeployError: the port is taken, or the server ended while starting.
        """
        facts = self.describe()
        folder = await to_thread.run_sync(make_tiny_llama) if self.model is None else None
        file, alias = (folder / "model.gguf", TINY) if folder is not None else (self.model, self._stem)
        server = self._server(str(file), alias, self.port or free_port())
        async with serving(run, server):
            yield Endpoint(
                name=self.label,
                url=server.url,
                model=alias,
                facts=facts,
                # It closes a connection after each stream, although it says that it keeps it.
                invoker=self.invoker or OpenAI(extra=PER_TOKEN, keep_alive=False, profile="llamacpp"),
                tokenizer=self.tokenizer or folder,
            )

    def _server(self, file: str, alias: str, port: int) -> Server:
        numbers = (port, self.slots, self.slots * self.context_tokens, self.threads)
        return Server(
            name=self.label,
            command=[sys.executable, "-P", str(LAUNCHER), file, *map(str, numbers), alias],
            url=f"http://127.0.0.1:{port}",
            ready="/health",
            ready_seconds=self.ready_seconds,
            grace_seconds=STOP_SECONDS,
        )
