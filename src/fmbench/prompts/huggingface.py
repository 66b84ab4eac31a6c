"""Prompts out of data sets that the ``datasets`` library can load: from the hub by id, or local ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, checked
from fmbench.prompts.row_source import RowSource
from fmbench.prompts.rows import Row, RowError

__all__ = ["HuggingFace"]


@checked
@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class HuggingFace(RowSource):
    """Prompts made of the rows of a Hugging Face data set (needs the ``datasets`` extra); rows are streamed, not downloaded.

    A row with a conversation (ShareGPT's ``conversations``, or ``messages``) is the prompts of its turns.

    Args:
        id: The data set's id on the hub, or a local folder.
        subset: Its configuration, where it has several.
        split_name: Which part of it.
        revision: A commit or tag, so that the rows stay the same.
        template: As in ``Dataset``.
        fields: Which column a template's field comes from, where it has another name.
        language: Keep only rows of this language.
        tokens: Keep only prompts of so many tokens, both ends included.
        tokenizer: Counts tokens: a folder, or a ``Tokenizer``; the benchmark's where none is given.
        turns: How many turns of a row's conversation are sent, each after the reply to the one before; ``None`` for all.
        pause_seconds: Think time before each turn but the first.
        limit: Keep only so many prompts; a conversation counts as one.
        rows: Read only so many rows: a streamed data set may be huge.
        seed: Shuffles the rows; ``None``, the default, keeps their order.
        on_broken_row: ``stop`` at a row that cannot be used, or ``skip`` it, tell of it and count it.
        name: What people call the prompt set.
    """

    id: str
    subset: str | None = field(default=None, kw_only=True)
    split_name: str = field(default="train", kw_only=True)
    revision: str | None = field(default=None, kw_only=True)
    rows: int | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)

    def _rows(self) -> Iterator[Row | RowError]:
        for number, values in enumerate(self._loaded(), 1):
            if self.rows is not None and number > self.rows:
                return
            yield Row(self.id, number, values)

    def _id(self, row: Row) -> str:
        return f"{self.split_name}:{row.line}"

    def _find(self) -> None:
        _library()

    def _loaded(self) -> Any:
        load_dataset = _library()
        try:
            return load_dataset(self.id, self.subset, split=self.split_name, revision=self.revision, streaming=True)
        except Exception as error:
            told = str(error).strip().partition("\n")[0][:300] or type(error).__name__
            raise ConfigError(f"huggingface: {self.id} cannot be loaded: {told}") from error


def _library() -> Any:
    try:
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError('huggingface needs the extra "datasets": pip install "fmbench-harness[datasets]"') from None
    return load_dataset
