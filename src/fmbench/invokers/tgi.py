"""Hugging Face's Text Generation Inference, in its own protocol: ``/generate`` and ``/generate_stream``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any

import orjson
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from fmbench import (
    Completion,
    ConfigError,
    Decoder,
    Endpoint,
    Exchange,
    Head,
    InvokeError,
    Parameters,
    Prompt,
    Request,
    checked,
)
from fmbench.invokers.failures import Failures
from fmbench.invokers.generated import GeneratedDecoder, WholeGeneratedDecoder
from fmbench.invokers.guarded import GuardedDecoder
from fmbench.invokers.payloads import payload_in
from fmbench.wire import Client, Prepared, connect

__all__ = ["TGI"]


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class TGI:
    """Speaks TGI's own protocol with kernel arrival times. Prompts are sent as they are, without a chat template.

    Args:
        stream: Whether replies come token by token; without it there is no TTFT and no ITL.
        headers: Sent with every request; never shown or written down.
    """

    stream: bool = True
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def sends_messages(self) -> bool:
        """Whether chat messages can be sent, and so conversations."""
        return False

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[TGISession]:
        """Open as many connections as requests will be in flight.

        Raises:
            ConfigError: the URL cannot be used.
        """
        headers = {"Content-Type": "application/json", **self.headers}
        async with connect(endpoint.url, connections=concurrency or 1, headers=headers) as client:
            yield TGISession(client, Failures(self.headers.values()), stream=self.stream)


class TGISession:
    """An open session with one server."""

    def __init__(self, client: Client, failures: Failures, *, stream: bool) -> None:
        self._client = client
        self._failures = failures
        self._stream = stream

    @property
    def clock_step_ns(self) -> int:
        """The largest change of the kernel clock's offset between two samples."""
        return self._client.clock.step_ns

    @property
    def write_delay_ns(self) -> int | None:
        """How long after ``sent`` the kernel had the request, at the 99th percentile."""
        return self._client.clock.write_delay_ns

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        """Make the JSON body and the HTTP head.

        Raises:
            ConfigError: the prompt holds chat messages, or something cannot be written as JSON.
        """
        payload = payload_in("tgi", prompt, parameters)
        try:
            body = orjson.dumps(payload)
        except orjson.JSONEncodeError as error:
            raise ConfigError(f"prompt {prompt.id!r} with its parameters cannot be written as JSON: {error}") from None
        path = "/generate_stream" if self._stream else "/generate"
        return Request(payload=payload, body=self._client.prepare("POST", path, body=body))

    async def send(self, request: Request, exchange: Exchange) -> None:
        """Send it; every chunk of the reply's body is a piece."""
        prepared: Prepared = request.body
        await self._client.send(prepared, exchange)

    def decoder(self) -> Decoder:
        """A decoder for one reply, fed while it arrives."""
        inner = GeneratedDecoder(self._failures, counts=True) if self._stream else WholeGeneratedDecoder(self._failures)
        return GuardedDecoder(inner, self._refuse)

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """The same for a reply that is whole."""
        decoder = self.decoder()
        for piece in pieces:
            decoder.feed(piece)
        return decoder.close(head)

    def _refuse(self, head: Head, start: bytes) -> None:
        try:
            self._failures.refuse_status(head, start)
        except InvokeError as error:
            if head.status == 424:  # TGI's status for a model that failed
                raise InvokeError("model_error", error.message, 424) from None
            raise
