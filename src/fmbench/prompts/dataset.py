"""Prompts out of data files, shaped like LongBench's by default."""

from __future__ import annotations

import logging
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, Tokenizer, load_tokenizer
from fmbench.prompts.rows import Row, find_files, read_rows
from fmbench.prompts.template import Template, load_template

__all__ = ["Dataset"]

logger = logging.getLogger(__name__)
WITHOUT_TEMPLATE = "{prompt}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Dataset:
    """Prompts made of the rows of JSON lines or CSV files.

    Texts are brought to Unicode's normal form C. Rows that a filter leaves out are counted in ``dropped``.

    Args:
        paths: Files, folders or patterns.
        template: A text with fields in braces, or a file of it; without one, the column ``prompt`` is the prompt.
        fields: Which column a template's field comes from, where it has another name (LongBench's ``input`` is found
            as ``question``); ``language`` names the column of the language.
        language: Keep only rows of this language.
        tokens: Keep only prompts of so many tokens, both ends included.
        tokenizer: Counts tokens: a folder, or a ``Tokenizer``; the benchmark's where none is given.
        limit: Keep only so many prompts.
        seed: Shuffles the rows; ``None`` keeps the files' order.
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
        """How many rows were left out, by reason."""
        return self._drawn[1]

    def counted_by(self, tokenizer: Tokenizer) -> Self:
        """The same prompts, counted by ``tokenizer`` unless this source has one of its own."""
        return self if self.tokenizer is not None else replace(self, tokenizer=tokenizer)

    def split(self, buckets: Sequence[tuple[int, int]]) -> dict[str, Self]:
        """A named source for each range of prompt lengths in tokens; a row on a boundary is in both."""
        return {f"{low}-{high}": replace(self, tokens=(low, high), name=f"{low}-{high}") for low, high in buckets}

    @cached_property
    def _drawn(self) -> tuple[tuple[Prompt, ...], Mapping[str, int]]:
        template = load_template(self.template or WITHOUT_TEMPLATE, self.fields)
        files = find_files([self.paths] if isinstance(self.paths, str | Path) else list(self.paths))
        rows = [row for file in files for row in read_rows(file)]
        by_stem = len({file.stem for file in files}) == len(files)
        dropped: Counter[str] = Counter()
        if self.seed is not None:
            random.Random(self.seed).shuffle(rows)  # noqa: S311 - an order, not cryptography
        kept = self._of_length(self._of_language(rows, dropped), template, dropped, by_stem=by_stem)
        prompts = tuple(islice(kept, self.limit))
        if not prompts:
            raise ConfigError(self._nothing_left(len(rows), dropped))
        return prompts, dict(dropped)

    def _of_language(self, rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Row]:
        column = self.fields.get("language", "language")
        for row in rows:
            if self.language is not None and column not in row.values:
                raise ConfigError(f"{row.place}: language={self.language!r} is asked for, but the row has no field {column!r}")
            if self.language is None or row.values[column] == self.language:
                yield row
            else:
                dropped[f"language is not {self.language}"] += 1

    def _of_length(self, rows: Iterator[Row], template: Template, dropped: Counter[str], *, by_stem: bool) -> Iterator[Prompt]:
        texts = [(row, unicodedata.normalize("NFC", template.fill(row))) for row in rows]
        counts: Sequence[int | None] = [None] * len(texts)
        if self.tokenizer is not None:
            tokenizer = load_tokenizer(self.tokenizer)
            logger.info("prompt template length=%d tokens", tokenizer.count([template.empty()])[0])
            counts = tokenizer.count([text for _, text in texts])
        elif self.tokens is not None:
            raise ConfigError(f"tokens={self.tokens} needs a tokenizer to count with: give tokenizer=")
        for (row, text), count in zip(texts, counts, strict=True):
            if self.tokens is not None and count is not None and not self.tokens[0] <= count <= self.tokens[1]:
                low, high = self.tokens
                dropped[f"shorter than {low} tokens" if count < low else f"longer than {high} tokens"] += 1
                continue
            yield Prompt(id=_short(row.place) if by_stem else row.place, text=text, tokens=count, labels=_labels(row, template))

    def _nothing_left(self, rows: int, dropped: Counter[str]) -> str:
        if not rows:
            return f"paths: {self.paths} holds no rows"
        told = ", ".join(f"{count} dropped because {reason}" for reason, count in dropped.items())
        return f"no prompt is left of {rows} rows: {told}; widen language= or tokens="


def _short(place: str) -> str:
    """``FILE:LINE`` without the folder."""
    file, _, line = place.rpartition(":")
    return f"{Path(file).stem}:{line}"


def _labels(row: Row, template: Template) -> dict[str, Any]:
    """The row's small fields: data set, language, length and the like."""
    return {
        name: value
        for name, value in row.values.items()
        if name not in template.fields and isinstance(value, str | int | float | bool) and len(str(value)) <= 100
    }
