"""Prompts out of prompt sources: drawn once for each tokenizer, counted, and checked, before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fmbench.benchmark.cases import PromptSet
from fmbench.benchmark.tokenizers import load_tokenizer
from fmbench.errors import ConfigError, FmbenchError
from fmbench.interfaces import PromptSource, Tokenizer
from fmbench.types import Prompt

__all__ = ["Drawn", "draw"]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A prompt set as drawn; ``tokenizer`` is the one that counted it."""

    name: str
    prompts: tuple[Prompt, ...]
    dropped: Mapping[str, int]
    tokenizer: Tokenizer | None
    tokenizer_name: str | None

    def as_json(self) -> dict[str, Any]:
        distinct = {prompt.text if prompt.text is not None else repr(prompt.messages) for prompt in self.prompts}
        return {
            "name": self.name,
            "tokenizer": self.tokenizer_name,
            "count": len(self.prompts),
            "distinct": len(distinct),
            "dropped": dict(self.dropped),
        }


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
    uncounted = [prompt for prompt in prompts if prompt.tokens is None and prompt.text is not None]
    if tokenizer is None or not uncounted:
        return prompts
    counts = dict(zip(map(id, uncounted), tokenizer.count([prompt.text or "" for prompt in uncounted]), strict=True))
    return tuple(replace(prompt, tokens=counts[id(prompt)]) if id(prompt) in counts else prompt for prompt in prompts)


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
        if prompt.after is not None:
            raise ConfigError(f"prompts {name!r}: {prompt.id!r} continues a conversation (after=), which cannot be run yet")
