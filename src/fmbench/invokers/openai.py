"""OpenAI's chat and text completions, as vLLM, llama.cpp, TGI, SGLang and many services speak them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any, Literal

import orjson
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from fmbench import Completion, ConfigError, Decoder, Endpoint, Exchange, Head, Parameters, Prompt, Request
from fmbench.invokers.completions import EventDecoder, WholeDecoder
from fmbench.invokers.failures import Failures
from fmbench.wire import Client, Prepared, connect

__all__ = ["OpenAI"]

_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OpenAI:
    """Speaks OpenAI's HTTP protocol with kernel arrival times.

    ``do_sample=False`` is sent as ``temperature: 0``, since the protocol has no word for it, and ``do_sample=True`` is its
    default; ``top_k`` and ``truncate`` (``truncate_prompt_tokens``) are extensions that vLLM and others know.

    Args:
        api: ``chat`` sends messages (a plain prompt is one user message), ``completions`` sends a plain prompt.
        stream: Whether replies come token by token; without it there is no TTFT and no ITL.
        extra: Put into every request last, such as ``{"ignore_eos": True}``.
        headers: Sent with every request; never shown or written down.
        api_key_env: The environment variable that holds the key; it is read when connecting and never written down.
        keep_alive: Whether a connection serves several requests; ``False`` for servers that close it after each.
    """

    api: Literal["chat", "completions"] = "chat"
    stream: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key_env: str | None = None
    keep_alive: bool = True

    @field_validator("extra")
    @classmethod
    def _leaves_decoding_alone(cls, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        if extra.get("n", 1) != 1:
            raise ValueError(
                f"n must be 1, not {extra['n']!r}: the tokens of several choices could not be told apart; ask more often"
            )
        if "stream" in extra:
            raise ValueError("stream is an option of its own: use stream=True or stream=False beside extra")
        return extra

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[OpenAISession]:
        """Open as many connections as requests will be in flight.

        Raises:
            ConfigError: the URL cannot be used, or the key's variable is not set.
        """
        own = {**self._authorization(), **self.headers}
        headers = {"Content-Type": "application/json", **own}
        async with connect(endpoint.url, connections=concurrency or 1, headers=headers, keep_alive=self.keep_alive) as client:
            yield OpenAISession(self, endpoint, client, Failures(own.values()))

    def _authorization(self) -> dict[str, str]:
        if self.api_key_env is None:
            return {}
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ConfigError(f"api_key_env: the environment variable {self.api_key_env} is not set")
        return {"Authorization": f"Bearer {key}"}


class OpenAISession:
    """An open session with one server."""

    def __init__(self, options: OpenAI, endpoint: Endpoint, client: Client, failures: Failures) -> None:
        self._options = options
        self._failures = failures
        self._model = endpoint.model
        self._client = client
        self._path = _PATHS[options.api]
        if endpoint.url.rstrip("/").endswith("/v1"):
            self._path = self._path.removeprefix("/v1")

    @property
    def clock_step_ns(self) -> int:
        """The largest change of the kernel clock's offset between two samples."""
        return self._client.clock.step_ns

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        """Make the JSON body and the HTTP head.

        Raises:
            ConfigError: chat messages cannot be sent as a plain prompt, or something cannot be written as JSON.
        """
        payload: dict[str, Any] = {} if self._model is None else {"model": self._model}
        payload |= self._content(prompt) | _generation(prompt, parameters)
        if self._options.stream:
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        payload |= self._options.extra
        try:
            body = orjson.dumps(payload)
        except orjson.JSONEncodeError as error:
            raise ConfigError(
                f"prompt {prompt.id!r} with its parameters and extra cannot be written as JSON: {error}"
            ) from None
        return Request(payload=payload, body=self._client.prepare("POST", self._path, body=body))

    async def send(self, request: Request, exchange: Exchange) -> None:
        """Send it; every chunk of the reply's body is a piece."""
        prepared: Prepared = request.body
        await self._client.send(prepared, exchange)

    def decoder(self) -> Decoder:
        """A decoder for one reply, fed while it arrives."""
        return EventDecoder(self._failures) if self._options.stream else WholeDecoder(self._failures)

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """The same for a reply that is whole."""
        decoder = self.decoder()
        for piece in pieces:
            decoder.feed(piece)
        return decoder.close(head)

    def _content(self, prompt: Prompt) -> dict[str, Any]:
        if self._options.api == "chat":
            messages = [{"role": "user", "content": prompt.text}] if prompt.messages is None else list(prompt.messages)
            return {"messages": messages}
        if prompt.text is None:
            raise ConfigError(f'prompt {prompt.id!r} holds chat messages, which api="completions" cannot send: use api="chat"')
        return {"prompt": prompt.text}


def _generation(prompt: Prompt, parameters: Parameters) -> dict[str, Any]:
    most = prompt.max_new_tokens if prompt.max_new_tokens is not None else parameters.max_new_tokens
    temperature = 0 if parameters.do_sample is False else parameters.temperature
    wanted = {
        "max_tokens": most,
        "temperature": temperature,
        "top_p": parameters.top_p,
        "top_k": parameters.top_k,
        "stop": None if parameters.stop is None else list(parameters.stop),
        "seed": parameters.seed,
        "truncate_prompt_tokens": parameters.truncation(prompt),
    }
    return {name: value for name, value in wanted.items() if value is not None}
