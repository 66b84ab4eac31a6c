"""What servers of OpenAI's protocol understand beyond it: the names of parameters, and how to force a reply's length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from fmbench import Parameters, Prompt

__all__ = ["PROFILES", "Profile", "ProfileName"]

ProfileName = Literal["any", "openai", "vllm", "sglang", "llamacpp", "tensorrt-llm", "tgi", "transformers"]

Forcing = Callable[[int], Mapping[str, Any]]
"""From a number of tokens to the fields that make a reply that long."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of server.

    Args:
        max_tokens: Its name for the longest reply.
        top_k: Its name for that, or ``None`` where it has none.
        truncate: Its name for that, or ``None`` where it has none.
        force: The fields that force a reply's length, or ``None`` where nothing does.
        generation_config: Whether what is missing can be said in a JSON text of that name, in transformers' words.
    """

    max_tokens: str = "max_tokens"
    top_k: str | None = "top_k"
    truncate: str | None = None
    force: Forcing | None = None
    generation_config: bool = False

    def refusal(self, name: str, parameters: Parameters) -> str | None:
        """Why the server cannot be told these parameters; ``None`` where it can."""
        given = {"top_k": parameters.top_k is not None and self.top_k is None and not self.generation_config}
        given["truncate"] = parameters.truncate is not None and self.truncate is None
        for parameter, refused in given.items():
            if refused:
                return f"{parameter}: profile {name!r} has no word for it: leave it out, or put the server's own into extra="
        return None

    def fields(self, prompt: Prompt, parameters: Parameters) -> dict[str, Any]:
        """The request's fields."""
        most = prompt.max_new_tokens if prompt.max_new_tokens is not None else parameters.max_new_tokens
        wanted = {
            self.max_tokens: most,
            "temperature": 0 if parameters.do_sample is False else parameters.temperature,
            "top_p": parameters.top_p,
            "stop": None if parameters.stop is None else list(parameters.stop),
            "seed": parameters.seed,
        }
        if self.top_k is not None:
            wanted[self.top_k] = parameters.top_k
        if self.truncate is not None:
            wanted[self.truncate] = parameters.truncation(prompt)
        forced = self.force(most) if parameters.force_length and self.force is not None and most is not None else {}
        if self.generation_config:
            forced = _generation_config(parameters, forced)
        return {name: value for name, value in (wanted | dict(forced)).items() if value is not None}


def _generation_config(parameters: Parameters, forced: Mapping[str, Any]) -> dict[str, Any]:
    own = {"do_sample": parameters.do_sample, "top_k": parameters.top_k, **forced}
    own = {name: value for name, value in own.items() if value is not None}
    return {"generation_config": orjson.dumps(own).decode()} if own else {}


def _ignoring_the_end(_: int) -> Mapping[str, Any]:
    return {"ignore_eos": True}


def _at_least_as_well(tokens: int) -> Mapping[str, Any]:
    return {"ignore_eos": True, "min_tokens": tokens}


PROFILES: Mapping[ProfileName, Profile] = {
    "any": Profile(truncate="truncate_prompt_tokens"),
    "openai": Profile(max_tokens="max_completion_tokens", top_k=None),
    "vllm": Profile(truncate="truncate_prompt_tokens", force=_at_least_as_well),
    "sglang": Profile(force=_ignoring_the_end),
    "llamacpp": Profile(force=_ignoring_the_end),
    "tensorrt-llm": Profile(truncate="truncate_prompt_tokens", force=_at_least_as_well),
    "tgi": Profile(top_k=None),
    "transformers": Profile(top_k=None, force=lambda tokens: {"min_new_tokens": tokens}, generation_config=True),
}
