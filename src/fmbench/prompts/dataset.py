"""Prompts out of data files, shaped like LongBench's by default."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.prompts.readers import ENDINGS, read_rows
from fmbench.prompts.row_source import RowSource
from fmbench.prompts.rows import Row, RowError, find_files, short_names

__all__ = ["Dataset"]

logger: logging.Logger = logging.getLogger("fmbench.prompts")


@checked
@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Dataset(RowSource):
    """Prompts made of the rows of files: JSON lines, JSON lists, CSV, TSV, Parquet.

    Texts are brought to Unicode's normal form C. Rows that are left out are counted in ``dropped``. A row with a conversation
    (ShareGPT's ``conversations``, or ``messages``) is the prompts of its turns.

    Args:
        paths: Files, folders or patterns.
        encoding: Of text files; without one a file's byte-order mark decides, else it is UTF-8.
        template: A text with fields in braces, or a file of it; or, where models differ, a mapping of deployment or model
            names (``*`` stands for anything) to those. Without one, the column ``prompt`` is the prompt.
        fields: Which column a template's field comes from, where it has another name (LongBench's ``input`` is found
            as ``question``); ``language`` names the column of the language.
        language: Keep only rows of this language.
        tokens: Keep only prompts of so many tokens, both ends included.
        tokenizer: Counts tokens: a folder, or a ``Tokenizer``; the benchmark's where none is given.
        turns: How many turns of a row's conversation are sent, each after the reply to the one before; ``None`` for all.
        pause_seconds: Think time before each turn but the first.
        limit: Keep only so many prompts; a conversation counts as one.
        seed: Shuffles the rows, in an order that no filter changes; ``None`` keeps the files' order.
        on_broken_row: ``stop`` at a row that cannot be used, or ``skip`` it, tell of it and count it.
        name: What people call the prompt set.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("paths", *RowSource.path_fields)

    paths: str | Path | Sequence[str | Path]
    encoding: str | None = field(default=None, kw_only=True)

    def _rows(self) -> Iterator[Row | RowError]:
        for file in self._names:
            empty = True
            for row in read_rows(file, self.encoding):
                empty = False
                yield row
            if empty:
                logger.warning("%s holds no rows", file)

    def _find(self) -> None:
        self._names  # noqa: B018 - finding them is the point

    def _id(self, row: Row) -> str:
        return f"{self._names[Path(row.file)]}:{row.line}"

    @cached_property
    def _names(self) -> Mapping[Path, str]:
        files = find_files([self.paths] if isinstance(self.paths, str | Path) else list(self.paths), ENDINGS)
        return short_names(files)

    def _nothing_left(self, dropped: Mapping[str, int]) -> str:
        return super()._nothing_left(dropped) if dropped else f"paths: {self.paths} holds no rows"
