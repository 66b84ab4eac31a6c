"""OpenAI's chat and text completions and embeddings, as vLLM, llama.cpp, TGI, SGLang and many services speak them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field, replace
from typing import Any, Literal

import orjson
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from fmbench import Completion, ConfigError, Decoder, Endpoint, Exchange, Head, Parameters, Prompt, Request, checked
from fmbench.invokers.completions import EventDecoder, WholeDecoder
from fmbench.invokers.embeddings import EmbeddingDecoder
from fmbench.invokers.failures import Failures
from fmbench.invokers.images import with_data_urls
from fmbench.invokers.profiles import PROFILES, ProfileName
from fmbench.wire import Client, Prepared, connect

__all__ = ["OpenAI"]

_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class OpenAI:
    """Speaks OpenAI's HTTP protocol with kernel arrival times.

    ``do_sample=False`` is sent as ``temperature: 0``, since the protocol has no word for it, and ``do_sample=True`` is its
    default. What else servers understand is their ``profile``; a parameter that it has no word for is refused.

    Args:
        api: ``chat`` sends messages (a plain prompt is one user message; an image may be a file), ``completions`` and
            ``embeddings`` send a plain prompt.
        profile: The kind of server: ``openai``, ``vllm``, ``sglang``, ``llamacpp``, ``tensorrt-llm``, ``tgi`` or
            ``transformers``. ``any`` says ``top_k`` and ``truncate`` in vLLM's words and cannot force a reply's length.
        stream: Whether replies come token by token; without it there is no TTFT and no ITL.
        extra: Put into every request last, such as ``{"ignore_eos": True}``.
        headers: Sent with every request; never shown or written down.
        api_key_env: The environment variable that holds the key; it is read when connecting and never written down.
        keep_alive: Whether a connection serves several requests; ``False`` for servers that close it after each.
    """

    api: Literal["chat", "completions", "embeddings"] = "chat"
    profile: ProfileName = "any"
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

    @property
    def streams(self) -> bool:
        """Whether replies come token by token."""
        return self.stream and self.api != "embeddings"

    @property
    def sends_messages(self) -> bool:
        """Whether chat messages can be sent, and so conversations."""
        return self.api == "chat"

    def check(self, parameters: Parameters) -> None:
        """Refuse what the server cannot be told.

        Raises:
            ConfigError: one of the parameters.
        """
        if self.api == "embeddings":
            if given := [name for name in parameters.given() if name != "truncate"]:
                raise ConfigError(f"{given[0]}: nothing is generated with api='embeddings': leave it out")
            return
        if (told := PROFILES[self.profile].refusal(self.profile, parameters)) is not None:
            raise ConfigError(told)

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
        self._profile = PROFILES[options.profile]
        if options.api != "chat":
            self._profile = replace(self._profile, max_tokens="max_tokens")  # only chat has the newer name
        if endpoint.url.rstrip("/").endswith("/v1"):
            self._path = self._path.removeprefix("/v1")

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
            ConfigError: chat messages cannot be sent as a plain prompt, the server has no word for a parameter, or something
                cannot be written as JSON.
        """
        self._options.check(parameters)
        payload: dict[str, Any] = {} if self._model is None else {"model": self._model}
        payload |= self._content(prompt)
        if self._options.api == "embeddings":
            prompt = replace(prompt, max_new_tokens=None)
        payload |= self._profile.fields(prompt, parameters)
        if self._options.streams:
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

    @property
    def decoder(self) -> Callable[[], Decoder] | None:
        """Makes a decoder for one reply, fed while it arrives; ``None`` where there is nothing to read before its end."""
        return self._decoder if self._options.streams else None

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """Decode a reply that is whole."""
        decoder = self._decoder()
        for piece in pieces:
            decoder.feed(piece)
        return decoder.close(head)

    def _decoder(self) -> Decoder:
        if self._options.api == "embeddings":
            return EmbeddingDecoder(self._failures)
        return EventDecoder(self._failures) if self._options.stream else WholeDecoder(self._failures)

    def _content(self, prompt: Prompt) -> dict[str, Any]:
        if self._options.api == "chat":
            if prompt.messages is None:
                return {"messages": [{"role": "user", "content": prompt.text}]}
            return {"messages": with_data_urls(prompt.messages, prompt.id)}
        api = self._options.api
        if prompt.text is None:
            raise ConfigError(f'prompt {prompt.id!r} holds chat messages, which api="{api}" cannot send: use api="chat"')
        return {"input": prompt.text} if api == "embeddings" else {"prompt": prompt.text}
