"""An endpoint that exists: nothing is made, and nothing is deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from pydantic import field_validator
from pydantic.dataclasses import dataclass

from fmbench import DeployError, Endpoint, Run, checked
from fmbench.deployers.addresses import check_root, unreachable
from fmbench.deployers.priced import STRICT, Priced
from fmbench.invokers import OpenAI
from fmbench.wire import refuse_proxy

__all__ = ["ExistingEndpoint"]


@checked
@dataclass(frozen=True, config=STRICT)
class ExistingEndpoint(Priced):
    """An endpoint at a URL.

    Args:
        url: Its root, before ``/v1``.
        model: The name requests ask for.
        api_key_env: The environment variable that holds its key.
        headers: Sent with every request; never shown or written down.
        facts: What is known of it, such as ``{"instance_type": "g5.xlarge", "instance_count": 2}``.
    """

    url: str
    model: str | None = field(default=None, kw_only=True)
    api_key_env: str | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @field_validator("url")
    @classmethod
    def _is_root(cls, url: str) -> str:
        return check_root(url)

    @property
    def label(self) -> str:
        """The name, or the host and port."""
        return self.name or urlsplit(self.url).netloc

    def describe(self) -> dict[str, Any]:
        """What is known of it."""
        return {**self.facts, **self.price_facts()}

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:  # noqa: ARG002 - a Deployer's
        """Yield it, once something accepts connections there; what it answers is each request's own matter.

        Raises:
            DeployError: nothing does.
            ConfigError: the environment names a proxy for it.
        """
        refuse_proxy(self.url)
        why = await unreachable(self.url, seconds=10.0)
        if why is not None:
            raise DeployError(f"nothing accepts connections at {self.url} ({why}): is the server up, and the port right?")
        yield Endpoint(
            name=self.label,
            url=self.url,
            model=self.model,
            facts=self.describe(),
            invoker=self.invoker or OpenAI(headers=self.headers, api_key_env=self.api_key_env),
            tokenizer=self.tokenizer,
        )
