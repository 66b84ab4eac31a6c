"""Prompts out of data files, shaped like LongBench's by default."""

from __future__ import annotations

import logging
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, Tokenizer, load_tokenizer
from fmbench.prompts.rows import Row, find_files, read_rows, short_names
from fmbench.prompts.template import Template, load_template

__all__ = ["Dataset"]

logger: logging.Logger = logging.getLogger(__name__)
LANGUAGE = "language"
BATCH = 1000
"""Rows that are held at once and counted in one go."""
LONGEST_LABEL = 100


class _Candidate(NamedTuple):
    """A prompt, and its place in the seed's order."""

    order: float
    prompt: Prompt


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Dataset:
    """Prompts made of the rows of JSON lines or CSV files.

    Texts are brought to Unicode's normal form C. Rows that are left out are counted in ``dropped``.

    Args:
        paths: Files, folders or patterns.
        template: A text with fields in braces, or a file of it; without one, the column ``prompt`` is the prompt.
        fields: Which column a template's field comes from, where it has another name (LongBench's ``input`` is found
            as ``question``); ``language`` names the column of the language.
        language: Keep only rows of this language.
        tokens: Keep only prompts of so many tokens, both ends included.
        tokenizer: Counts tokens: a folder, or a ``Tokenizer``; the benchmark's where none is given.
        limit: Keep only so many prompts.
        seed: Shuffles the rows, in an order that no filter changes; ``None`` keeps the files' order.
        name: What people call the prompt set.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("paths", "template", "tokenizer")

    paths: str | Path | Sequence[str | Path]
    template: str | Path | None = field(default=None, kw_only=True)
    fields: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    language: str | None = field(default=None, kw_only=True)
    tokens: tuple[int, int] | None = field(default=None, kw_only=True)
    tokenizer: Any = field(default=None, kw_only=True)
    limit: PositiveInt | None = field(default=None, kw_only=True)
    seed: int | None = field(default=0, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts.

        Raises:
            ConfigError: a file, a row or the template is wrong, or the filters leave nothing.
        """
        return iter(self._drawn[0])

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many rows were left out, by reason; with the prompts they make all rows."""
        return self._drawn[1]

    def counted_by(self, tokenizer: Tokenizer) -> Self:
        """The same prompts, counted by ``tokenizer`` unless this source has one of its own."""
        return self if self.tokenizer is not None else replace(self, tokenizer=tokenizer)

    def split(self, buckets: Sequence[tuple[int, int]]) -> dict[str, Self]:
        """A named source for each range of prompt lengths in tokens; a row on a boundary is in both."""
        return {f"{low}-{high}": replace(self, tokens=(low, high), name=f"{low}-{high}") for low, high in buckets}

    @cached_property
    def _drawn(self) -> tuple[tuple[Prompt, ...], Mapping[str, int]]:
        template, counter = self._template(), self._counter()
        dropped: Counter[str] = Counter()
        kept: list[_Candidate] = []
        if counter is not None:
            logger.info("prompt template length=%d tokens", counter.count([template.empty()])[0])
        candidates = self._candidates(template, dropped)
        while batch := list(islice(candidates, BATCH)):
            kept += self._of_length(batch, counter, dropped)
        kept.sort(key=lambda candidate: candidate.order)
        prompts = tuple(candidate.prompt for candidate in kept[: self.limit])
        if len(prompts) < len(kept):
            dropped[f"over the limit of {self.limit}"] = len(kept) - len(prompts)
        if not prompts:
            raise ConfigError(self._nothing_left(dropped))
        return prompts, dict(dropped)

    def _template(self) -> Template:
        template = load_template(self.template, self.fields, also=(LANGUAGE,))
        logger.info("prompt template ->\n%s", template.text)
        return template

    def _counter(self) -> Tokenizer | None:
        if self.tokens is None:
            return None if self.tokenizer is None else load_tokenizer(self.tokenizer)
        if self.tokens[0] > self.tokens[1]:
            raise ConfigError(f"tokens={self.tokens}: the least must not be above the most; turn them round")
        if self.tokenizer is None:
            raise ConfigError(f"tokens={self.tokens} needs a tokenizer to count with: give tokenizer=")
        return load_tokenizer(self.tokenizer)

    def _candidates(self, template: Template, dropped: Counter[str]) -> Iterator[_Candidate]:
        files = find_files([self.paths] if isinstance(self.paths, str | Path) else list(self.paths))
        names = short_names(files)
        draw = random.Random(self.seed)  # noqa: S311 - an order, not cryptography
        for number, row in enumerate(row for file in files for row in read_rows(file)):
            order = float(number) if self.seed is None else draw.random()
            if not self._has_language(row):
                dropped[f"language is not {self.language}"] += 1
                continue
            text = unicodedata.normalize("NFC", template.fill(row))
            yield _Candidate(order, Prompt(id=f"{names[row.file]}:{row.line}", text=text, labels=_labels(row, template)))

    def _has_language(self, row: Row) -> bool:
        if self.language is None:
            return True
        column = self.fields.get(LANGUAGE, LANGUAGE)
        if column not in row.values:
            raise ConfigError(
                f"{row.place}: language={self.language!r} is asked for, but the row has no field {column!r} "
                f"(it has: {', '.join(row.values)}); name another with fields={{'language': …}}"
            )
        return bool(row.values[column] == self.language)

    def _of_length(self, batch: Sequence[_Candidate], counter: Tokenizer | None, dropped: Counter[str]) -> Iterable[_Candidate]:
        if counter is None:
            return batch
        counts = counter.count([candidate.prompt.text or "" for candidate in batch])
        low, high = self.tokens or (0, max(counts))
        for count in counts:
            if not low <= count <= high:
                dropped[f"shorter than {low} tokens" if count < low else f"longer than {high} tokens"] += 1
        return [
            candidate._replace(prompt=replace(candidate.prompt, tokens=count))
            for candidate, count in zip(batch, counts, strict=True)
            if low <= count <= high
        ]

    def _nothing_left(self, dropped: Counter[str]) -> str:
        if not dropped:
            return f"paths: {self.paths} holds no rows"
        told = ", ".join(f"{count} dropped because {reason}" for reason, count in dropped.items())
        return f"no prompt is left of {dropped.total()} rows: {told}; widen language= or tokens="


def _labels(row: Row, template: Template) -> dict[str, Any]:
    """The row's small fields: data set, language, length and the like."""
    return {
        name: value
        for name, value in row.values.items()
        if name not in template.columns and isinstance(value, str | int | float | bool) and len(str(value)) <= LONGEST_LABEL
    }
