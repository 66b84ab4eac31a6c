"""Prompts out of prompt sources: drawn once for each tokenizer, counted, and checked, before anything is timed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from fmbench.benchmark.cases import PromptSet
from fmbench.benchmark.tokenizers import load_tokenizer
from fmbench.errors import ConfigError, FmbenchError
from fmbench.interfaces import PromptSource, Tokenizer
from fmbench.types import Prompt

__all__ = ["Drawn", "check_sources", "draw"]

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A prompt set as drawn; ``tokenizer`` is the one that counted it."""

    name: str
    prompts: tuple[Prompt, ...]
    dropped: Mapping[str, int]
    tokenizer: Tokenizer | None
    tokenizer_name: str | None

    def as_json(self) -> dict[str, Any]:
        distinct = {_asked(prompt) if prompt.after is None else prompt.id for prompt in self.prompts}
        return {
            "name": self.name,
            "tokenizer": self.tokenizer_name,
            "count": len(self.prompts),
            "distinct": len(distinct),
            "sha256": _digest(self.prompts),
            "dropped": dict(self.dropped),
        }


def _asked(prompt: Prompt) -> str:
    """What a prompt without a history asks; turns with one are distinct as long as their conversations are."""
    return prompt.text if prompt.text is not None else repr(prompt.messages)


def _digest(prompts: Sequence[Prompt]) -> str:
    """What two prompt sets have in common exactly where they ask the same, in the same order, whatever their ids are."""
    digest = sha256()
    place = {prompt.id: number for number, prompt in enumerate(prompts)}
    for prompt in prompts:
        asked: tuple[Any, ...] = (prompt.text, prompt.messages, prompt.max_new_tokens, prompt.at_seconds, prompt.pause_seconds)
        if prompt.after is not None:
            asked = (*asked, place.get(prompt.after))
        digest.update(orjson.dumps(asked, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    return digest.hexdigest()


def check_sources(sets: Iterable[tuple[PromptSet, Any]]) -> None:
    """Look for what is missing, before anything is deployed: files, templates, tokenizers.

    Args:
        sets: Prompt sets and the tokenizers that count them, where these are known.

    Raises:
        ConfigError: something is.
    """
    for prompts, tokenizer in sets:
        if (check := getattr(prompts.source, "check", None)) is not None:
            check()
        if tokenizer is not None:
            load_tokenizer(tokenizer)


def draw(prompts: PromptSet, tokenizer: Any) -> Drawn:
    """Draw a set, its lengths counted by ``tokenizer`` (a folder or a ``Tokenizer``) where one is given.

    Raises:
        ConfigError: no prompt is left, two have one id, or one asks for what is not offered.
    """
    counter = None if tokenizer is None else load_tokenizer(tokenizer)
    source = prompts.source
    counted_by = getattr(source, "counted_by", None)
    if counter is not None and counted_by is not None:
        source = counted_by(counter)
    drawn = _counted(_taken(prompts.name, source), counter)
    _check(prompts.name, drawn)
    return Drawn(
        prompts.name, drawn, dict(getattr(source, "dropped", {})), counter, None if tokenizer is None else str(tokenizer)
    )


def _taken(name: str, source: PromptSource) -> tuple[Prompt, ...]:
    try:
        return tuple(source)
    except FmbenchError:
        raise
    except Exception as error:
        raise FmbenchError(f"prompts {name!r}: the source failed: {type(error).__name__}: {error}") from error


def _counted(prompts: tuple[Prompt, ...], tokenizer: Tokenizer | None) -> tuple[Prompt, ...]:
    """The prompts with the lengths that their source did not count; chat messages by the tokenizer's chat template.

    A conversation's later turns have none: what comes before them is not known.
    """
    if tokenizer is None:
        return prompts
    texts = {
        index: prompt.text
        for index, prompt in enumerate(prompts)
        if prompt.tokens is None and prompt.text is not None and prompt.after is None
    }
    chats = {index: prompt.messages for index, prompt in enumerate(prompts) if prompt.tokens is None and _is_plain_chat(prompt)}
    counts = dict(zip(texts, tokenizer.count(list(texts.values())), strict=True)) if texts else {}
    if chats and getattr(tokenizer, "has_chat_template", False):
        counts |= _chat_lengths(chats, tokenizer)
    return tuple(replace(prompt, tokens=counts[index]) if index in counts else prompt for index, prompt in enumerate(prompts))


def _is_plain_chat(prompt: Prompt) -> bool:
    """Whether it is messages of text only, and the first of its conversation."""
    return (
        prompt.messages is not None
        and prompt.after is None
        and all(isinstance(message.get("content"), str) for message in prompt.messages)
    )


def _chat_lengths(chats: Mapping[int, Any], tokenizer: Any) -> dict[int, int]:
    try:
        return dict(zip(chats, tokenizer.count_messages(list(chats.values())), strict=True))
    except ConfigError as error:
        logger.warning("the lengths of chat messages are estimated: %s", error)
        return {}


def _check(name: str, prompts: tuple[Prompt, ...]) -> None:
    if not prompts:
        raise ConfigError(f"prompts {name!r}: the source gave no prompt")
    strangers = [item for item in prompts if not isinstance(item, Prompt)]
    if strangers:
        raise ConfigError(f"prompts {name!r}: {strangers[0]!r} is not a Prompt")
    ids: set[str] = set()
    for prompt in prompts:
        if prompt.id in ids:
            raise ConfigError(f"prompts {name!r}: two prompts have the id {prompt.id!r}; give each its own")
        ids.add(prompt.id)
