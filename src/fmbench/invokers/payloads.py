"""The bodies of requests in the words of TGI, of LMI, and of OpenAI's chat inside other protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fmbench import ConfigError, Parameters, Prompt
from fmbench.invokers.profiles import PROFILES

__all__ = ["Dialect", "payload_in"]

Dialect = Literal["tgi", "lmi", "openai"]

# TGI answers with the prompt before its text unless told not to, and counts tokens only when asked.
_OWN: Mapping[str, Mapping[str, Any]] = {"tgi": {"return_full_text": False, "details": True}, "lmi": {}}
_STOP = {"tgi": "stop", "lmi": "stop_sequences"}


def payload_in(dialect: Dialect, prompt: Prompt, parameters: Parameters) -> dict[str, Any]:
    """A request's body, but for whether it is to be streamed.

    Raises:
        ConfigError: chat messages cannot be sent in this dialect.
    """
    if dialect == "openai":
        messages = [{"role": "user", "content": prompt.text}] if prompt.messages is None else list(prompt.messages)
        return {"messages": messages} | PROFILES["vllm"].fields(prompt, parameters)
    if prompt.text is None:
        raise ConfigError(f'prompt {prompt.id!r} holds chat messages, which only dialect="openai" can send')
    given = parameters.given() | dict(_OWN[dialect])
    given.pop("force_length", None)
    if prompt.max_new_tokens is not None:
        given["max_new_tokens"] = prompt.max_new_tokens
    if parameters.truncate is not None:
        given["truncate"] = parameters.truncation(prompt)
    if parameters.stop is not None:
        given.pop("stop")
        given[_STOP[dialect]] = list(parameters.stop)
    return {"inputs": prompt.text, "parameters": given}
