"""Prompts with the times, lengths and shared beginnings of a published trace of requests."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, Tokenizer, checked, load_tokenizer
from fmbench.prompts.readers import ENDINGS, read_rows
from fmbench.prompts.rows import Row, RowError, find_files
from fmbench.prompts.writing import Draft, Writer

__all__ = ["Trace"]

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
MOONCAKE = ("timestamp", "input_length", "output_length")
LEAST_OWN = 8
"""Tokens of a prompt that are its own, so that no two are alike."""
BLOCK_TOKENS = 512
"""Tokens that one of Mooncake's prefix hashes stands for."""


class _Request(NamedTuple):
    """One line of a trace."""

    place: str
    at_seconds: float
    prompt_tokens: int
    output_tokens: int
    hashes: tuple[int, ...]


@checked
@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Trace:
    """Requests of a trace, for ``Replay()``: texts are random words, lengths and times the trace's.

    Known are Azure's LLM inference traces (CSV with ``TIMESTAMP, ContextTokens, GeneratedTokens``) and Mooncake's (JSON lines
    with ``timestamp`` in milliseconds, ``input_length, output_length, hash_ids``). Prompts that begin with the same hashes
    begin with the same text, of as many blocks.

    Args:
        paths: Files, folders or patterns.
        speed: 2 sends twice as fast.
        window: Only requests from so many seconds after the trace's start, up to so many (left out).
        limit: Keep only so many requests, the earliest ones.
        longest_tokens: Leave out longer prompts, which a model's context would refuse; they are counted in ``dropped``.
        block_tokens: How many tokens a prefix hash stands for.
        seed: Of the words.
        tokenizer: A folder, or a ``Tokenizer``; the benchmark's where none is given.
        chat: Whether a prompt is one user message, counted after the chat template; ``None``: where the tokenizer has one.
        name: What people call the prompt set.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("paths", "tokenizer")

    paths: str | Path | Sequence[str | Path]
    speed: PositiveFloat = field(default=1.0, kw_only=True)
    window: tuple[float, float] | None = field(default=None, kw_only=True)
    limit: PositiveInt | None = field(default=None, kw_only=True)
    longest_tokens: PositiveInt | None = field(default=None, kw_only=True)
    block_tokens: PositiveInt = field(default=BLOCK_TOKENS, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    tokenizer: Any = field(default=None, kw_only=True)
    chat: bool | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts, in the order of their times.

        Raises:
            ConfigError: a file or a line is wrong, nothing is left, or there is no tokenizer.
        """
        return iter(self._drawn)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many requests were left out, by reason."""
        return self._chosen[1]

    @property
    def needs_tokenizer(self) -> bool:
        """Whether nothing can be drawn before there is a tokenizer, which an endpoint may bring along."""
        return self.tokenizer is None

    def counted_by(self, tokenizer: Tokenizer) -> Self:
        """The same requests in the count of ``tokenizer``, unless this source has one of its own."""
        return self if self.tokenizer is not None else replace(self, tokenizer=tokenizer)

    def check(self) -> None:
        """Look for the files without reading them.

        Raises:
            ConfigError: there are none.
        """
        self._files()

    def _files(self) -> list[Path]:
        return find_files([self.paths] if isinstance(self.paths, str | Path) else list(self.paths), ENDINGS)

    @cached_property
    def _chosen(self) -> tuple[list[_Request], Mapping[str, int]]:
        requests = sorted(self._requests(), key=lambda request: request.at_seconds)
        if not requests:
            raise ConfigError(f"paths: {self.paths} holds no request")
        start = requests[0].at_seconds
        low, high = self.window or (0.0, float("inf"))
        kept = [one for one in requests if low <= one.at_seconds - start < high]
        dropped = {f"outside of {low:g} to {high:g} s": len(requests) - len(kept)}
        if self.longest_tokens is not None:
            short = [one for one in kept if one.prompt_tokens <= self.longest_tokens]
            dropped[f"longer than {self.longest_tokens} tokens"] = len(kept) - len(short)
            kept = short
        dropped[f"over the limit of {self.limit}"] = len(kept) - len(kept[: self.limit])
        kept = kept[: self.limit]
        told = {reason: count for reason, count in dropped.items() if count}
        if not kept:
            raise ConfigError(f"no request is left of {len(requests)}: widen window= or longest_tokens= (dropped: {told})")
        return kept, told

    def _requests(self) -> Iterator[_Request]:
        for file in self._files():
            for row in read_rows(file):
                if isinstance(row, RowError):
                    raise row
                yield _request(row)

    @cached_property
    def _drawn(self) -> tuple[Prompt, ...]:
        if self.tokenizer is None:
            raise ConfigError("a trace's prompts are written to a tokenizer's count: give tokenizer=")
        tokenizer = load_tokenizer(self.tokenizer)
        chat = bool(getattr(tokenizer, "has_chat_template", False)) if self.chat is None else self.chat
        writer = Writer(tokenizer, chat=chat)
        draw = random.Random(self.seed)  # noqa: S311 - words, not cryptography
        requests = self._chosen[0]
        blocks = self._blocks(requests, writer, draw)
        drafts = [
            Draft(one.prompt_tokens, prefix) for one, prefix in zip(requests, _prefixes(requests, blocks, writer), strict=True)
        ]
        texts = writer.write(drafts, draw)
        start = requests[0].at_seconds
        return tuple(
            Prompt(
                id=f"request-{number:06d}",
                text=None if chat else text,
                messages=[{"role": "user", "content": text}] if chat else None,
                tokens=one.prompt_tokens,
                max_new_tokens=max(1, one.output_tokens),
                at_seconds=(one.at_seconds - start) / self.speed,
                labels={"place": one.place},
            )
            for number, (one, text) in enumerate(zip(requests, texts, strict=True))
        )

    def _blocks(self, requests: Sequence[_Request], writer: Writer, draw: random.Random) -> dict[int, str]:
        """A text for each prefix hash that several requests have; the others share nothing."""
        seen = Counter(known for one in requests for known in one.hashes[: one.prompt_tokens // self.block_tokens])
        shared = sorted(known for known, times in seen.items() if times > 1)
        texts = writer.write([Draft(writer.overhead + self.block_tokens) for _ in shared], draw)
        return dict(zip(shared, texts, strict=True))


def _prefixes(requests: Sequence[_Request], blocks: Mapping[int, str], writer: Writer) -> list[str]:
    """What each request begins with: its leading shared blocks, as many as leave room for a text of its own."""
    chains = [list(takewhile(blocks.__contains__, one.hashes)) for one in requests]
    while True:
        prefixes = [" ".join(blocks[known] for known in chain) for chain in chains]
        distinct = list(dict.fromkeys(prefixes))
        lengths = dict(zip(distinct, writer.count(distinct), strict=True))
        tight = [
            chain
            for one, chain, prefix in zip(requests, chains, prefixes, strict=True)
            if chain and lengths[prefix] + LEAST_OWN > one.prompt_tokens
        ]
        if not tight:
            return prefixes
        for chain in tight:
            chain.pop()


def _request(row: Row) -> _Request:
    names = next((names for names in (AZURE, MOONCAKE) if set(names) <= set(row.values)), None)
    if names is None:
        known = " or ".join(", ".join(names) for names in (AZURE, MOONCAKE))
        raise RowError(row.place, "not a trace's row", f"neither Azure's nor Mooncake's columns ({known})")
    at, prompt, output = (row.values[name] for name in names)
    try:
        seconds = float(at) / 1e3 if names is MOONCAKE else _seconds(str(at))
        hashes = tuple(int(one) for one in row.values.get("hash_ids") or ())
        request = _Request(row.place, seconds, int(prompt), int(output), hashes)
    except (TypeError, ValueError) as error:
        raise RowError(row.place, "not a trace's row", f"a time or a length cannot be read: {error}") from None
    if request.prompt_tokens < 1 or request.output_tokens < 0:
        raise RowError(row.place, "not a trace's row", "a length must not be below 1")
    return request


def _seconds(text: str) -> float:
    """Seconds of a time of day and date, such as ``2023-11-16 18:17:03.9799600`` (with tenths of microseconds)."""
    whole, _, fraction = text.strip().removesuffix("Z").partition(".")
    fraction, sign, zone = fraction.partition("+")
    moment = datetime.fromisoformat(whole + (f"+{zone}" if sign else "+00:00"))
    return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
