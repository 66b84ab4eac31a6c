"""Made-up prompts of exact lengths."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, Tokenizer, checked, load_tokenizer
from fmbench.prompts.lengths import PROFILES, Lengths, lengths_of
from fmbench.prompts.writing import Draft, Writer

__all__ = ["Synthetic"]


class _Pair(NamedTuple):
    """Lengths that belong together."""

    prompt_tokens: Lengths
    output_tokens: Lengths
    weight: float


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Synthetic:
    """Prompts of random words, exact in the tokenizer's own count, and no two alike, so that no prefix cache answers.

    A length is a number, a range ``(low, high)``, or a distribution: ``{"normal": {"mean": 500, "std": 100}}``,
    ``{"lognormal": {"median": 500, "sigma": 0.6}}``, ``{"uniform": [100, 900]}``; each may have ``low`` and ``high``.

    Args:
        prompt_tokens: The prompts' length, special tokens and chat template included.
        output_tokens: The replies' length: each prompt's ``max_new_tokens``. ``Parameters(force_length=True)`` forces it.
        count: How many.
        seed: Of lengths and words.
        profile: Published lengths instead: ``chat``, ``rag``, ``code``, ``summarise`` (``PROFILES`` tells their sources).
        mix: Pairs of lengths that belong together instead: ``[{"prompt_tokens": 200, "output_tokens": 500, "weight": 3}, …]``.
        shared_prefix_tokens: All prompts begin with the same text of so many tokens, special tokens not counted.
        prefix_pool: How many such beginnings there are; each prompt has one of them at random.
        tokenizer: A folder, or a ``Tokenizer``; the benchmark's where none is given.
        chat: Whether a prompt is one user message, counted after the chat template; ``None``: where the tokenizer has one.
        name: What people call the prompt set.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("tokenizer",)

    prompt_tokens: Any = None
    output_tokens: Any = None
    count: PositiveInt = 150
    seed: int = 0
    profile: Literal["chat", "rag", "code", "summarise"] | None = None
    mix: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    shared_prefix_tokens: NonNegativeInt = 0
    prefix_pool: PositiveInt = 1
    tokenizer: Any = None
    chat: bool | None = None
    name: str | None = None

    @field_validator("prompt_tokens", "output_tokens")
    @classmethod
    def _is_length(cls, value: Any, info: Any) -> Any:
        return None if value is None else lengths_of(value, info.field_name)

    def __post_init__(self) -> None:
        lengths = self.prompt_tokens is not None or self.output_tokens is not None
        if [lengths, self.profile is not None, bool(self.mix)].count(True) != 1:
            raise ConfigError("give one of: prompt_tokens and output_tokens, profile, mix")
        _ = self._pairs

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts.

        Raises:
            ConfigError: there is no tokenizer, or a length cannot be written.
        """
        return iter(self._drawn)

    @property
    def needs_tokenizer(self) -> bool:
        """Whether nothing can be drawn before there is a tokenizer, which an endpoint may bring along."""
        return self.tokenizer is None

    def counted_by(self, tokenizer: Tokenizer) -> Self:
        """The same lengths in the count of ``tokenizer``, unless this source has one of its own."""
        return self if self.tokenizer is not None else replace(self, tokenizer=tokenizer)

    @cached_property
    def _pairs(self) -> tuple[_Pair, ...]:
        if self.profile is not None:
            known = PROFILES[self.profile]
            return (_Pair(known.prompt_tokens, known.output_tokens, 1.0),)
        if not self.mix:
            if self.prompt_tokens is None or self.output_tokens is None:
                raise ConfigError("give both prompt_tokens and output_tokens")
            return (_Pair(self.prompt_tokens, self.output_tokens, 1.0),)
        return tuple(_pair(entry) for entry in self.mix)

    @cached_property
    def _drawn(self) -> tuple[Prompt, ...]:
        if self.tokenizer is None:
            raise ConfigError("synthetic prompts are written to a tokenizer's count: give tokenizer=")
        tokenizer = load_tokenizer(self.tokenizer)
        chat = bool(getattr(tokenizer, "has_chat_template", False)) if self.chat is None else self.chat
        if chat and not hasattr(tokenizer, "count_messages"):
            raise ConfigError("chat: the tokenizer has no count_messages: give a folder with a chat template, or chat=False")
        writer = Writer(tokenizer, chat=chat)
        draw = random.Random(self.seed)  # noqa: S311 - words, not cryptography
        pairs = draw.choices(self._pairs, [pair.weight for pair in self._pairs], k=self.count)
        lengths = [(pair.prompt_tokens.draw(draw), pair.output_tokens.draw(draw)) for pair in pairs]
        prefixes = self._prefixes(writer, draw)
        chosen = [draw.randrange(len(prefixes)) for _ in lengths]
        drafts = [Draft(tokens, prefixes[index]) for (tokens, _), index in zip(lengths, chosen, strict=True)]
        texts = writer.write(drafts, draw)
        return tuple(
            Prompt(
                id=f"synthetic-{number:05d}",
                text=None if chat else text,
                messages=[{"role": "user", "content": text}] if chat else None,
                tokens=lengths[number][0],
                max_new_tokens=lengths[number][1],
                labels={"prefix": chosen[number]} if self.shared_prefix_tokens else {},
            )
            for number, text in enumerate(texts)
        )

    def _prefixes(self, writer: Writer, draw: random.Random) -> list[str]:
        if not self.shared_prefix_tokens:
            return [""]
        wanted = [Draft(writer.overhead + self.shared_prefix_tokens) for _ in range(self.prefix_pool)]
        return writer.write(wanted, draw)


def _pair(entry: Any) -> _Pair:
    if not isinstance(entry, Mapping) or not {"prompt_tokens", "output_tokens"} <= set(entry) <= {*_Pair._fields}:
        raise ConfigError(f"mix: {entry!r} is no pair: give prompt_tokens, output_tokens and, if wanted, weight")
    weight = entry.get("weight", 1)
    if not isinstance(weight, int | float) or not weight > 0:
        raise ConfigError(f"mix: weight must be above 0, not {weight!r}")
    prompt, output = (lengths_of(entry[name], f"mix: {name}") for name in ("prompt_tokens", "output_tokens"))
    return _Pair(prompt, output, float(weight))
