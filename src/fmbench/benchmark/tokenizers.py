"""Tokenizers: a folder in, counts out; and an estimate where there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from fmbench.errors import ConfigError
from fmbench.interfaces import Tokenizer

__all__ = ["FolderTokenizer", "estimate_tokens", "load_tokenizer"]

BATCH = 1000
BATCH_CHARACTERS = 1_000_000
"""Texts, and characters, a call: enough to keep the cores busy, few enough to keep memory low."""
CHARACTERS_A_TOKEN = 4
"""Of English prose with the vocabularies of today's models; a rule of thumb, hence *estimated*."""

Message = Mapping[str, Any]
Count = Callable[[list[str], bool], list[int]]
"""From texts to their lengths, with or without special tokens."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, where nothing can count them."""
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)


def load_tokenizer(tokenizer: Any) -> Tokenizer:
    """Make a tokenizer of a folder, or take one that is one already.

    Args:
        tokenizer: A folder with a ``tokenizer.json`` (or that file), any other folder that ``transformers`` can read
            (with the extra of that name), or an object with ``count``.

    Raises:
        ConfigError: there is no tokenizer there.
    """
    if isinstance(tokenizer, str | Path):
        path = Path(tokenizer).expanduser().absolute()
        _loaded(path)
        return FolderTokenizer(path)
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    raise ConfigError(f"tokenizer: {tokenizer!r} is neither a folder nor an object with count(texts)")


@dataclass(frozen=True, slots=True)
class FolderTokenizer:
    """The tokenizer of a folder. Special tokens are counted as the tokenizer itself adds them.

    It is its path: it can be compared, hashed and pickled, and is read once in each process.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def has_chat_template(self) -> bool:
        """Whether the folder says how chat messages become one text."""
        return _has_chat_template(self.path)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [length for batch in _batches(texts) for length in _loaded(self.path).lengths(batch, True)]

    def count_messages(self, conversations: Sequence[Sequence[Message]]) -> list[int]:
        """The length of each conversation after the chat template, up to where the model's answer begins.

        Raises:
            ConfigError: there is no chat template, it refuses the messages, or ``transformers`` is not installed.
        """
        texts = [_rendered(self.path, messages) for messages in conversations]
        # The template writes the special tokens itself.
        return [length for batch in _batches(texts) for length in _loaded(self.path).lengths(batch, False)]


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class _Loaded(NamedTuple):
    """A tokenizer as read: how it counts, and, where ``transformers`` had to read it, that library's own object."""

    lengths: Count
    slow: Any = None


@lru_cache(maxsize=8)
def _loaded(path: Path) -> _Loaded:
    """Reading a tokenizer takes a tenth of a second, so it is kept."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file() and file.suffix == ".json":
        return _Loaded(_by_tokenizers(file))
    if path.is_dir():
        slow = _by_transformers(path)
        return _Loaded(lambda texts, special: [len(ids) for ids in slow(texts, add_special_tokens=special)["input_ids"]], slow)
    if path.is_file():
        raise ConfigError(f"tokenizer: {path} is no tokenizer.json; give that file, or the folder that holds it")
    raise ConfigError(f"tokenizer: {path} does not exist; give a folder that holds a tokenizer.json")


def _by_tokenizers(file: Path) -> Count:
    from tokenizers import Tokenizer as Fast  # noqa: PLC0415 - only for who counts

    try:
        fast = Fast.from_file(str(file))
    except Exception as error:
        raise ConfigError(f"tokenizer: {file} is not a tokenizer: {_first_line(error)}") from error
    fast.no_truncation()
    fast.no_padding()

    def count(texts: list[str], special: bool) -> list[int]:
        return [len(encoding) for encoding in fast.encode_batch_fast(texts, add_special_tokens=special)]

    return count


def _by_transformers(folder: Path) -> Any:
    known = ("tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in known):
        raise ConfigError(f"tokenizer: {folder} holds no tokenizer (no tokenizer.json, no {', no '.join(known)})")
    try:
        from transformers import AutoTokenizer  # pyright: ignore[reportMissingImports]  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            f'tokenizer: {folder} has no tokenizer.json; reading it needs: pip install "fmbench-harness[transformers]"'
        ) from None
    return _read_by(AutoTokenizer, folder)


def _read_by(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ConfigError(f"tokenizer: transformers cannot read {folder}: {_first_line(error)}") from error


# Chat templates.


@lru_cache(maxsize=8)
def _has_chat_template(path: Path) -> bool:
    folder = path if path.is_dir() else path.parent
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


def _rendered(path: Path, messages: Sequence[Message]) -> str:
    templating = _templating(path)
    try:
        text = templating.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except Exception as error:
        raise ConfigError(f"tokenizer: the chat template of {path} refuses the messages: {_first_line(error)}") from error
    return str(text)


@lru_cache(maxsize=8)
def _templating(path: Path) -> Any:
    if not _has_chat_template(path):
        raise ConfigError(f"tokenizer: {path} has no chat template (chat_template in tokenizer_config.json)")
    if (slow := _loaded(path).slow) is not None:
        return slow
    try:
        # Whatever class a folder names, its tokenizer.json and its chat template are all that is asked for here.
        from transformers import (  # pyright: ignore[reportMissingImports]  # noqa: PLC0415 - an extra
            PreTrainedTokenizerFast,
        )
    except ImportError:
        raise ConfigError(
            f'tokenizer: counting after the chat template of {path} needs: pip install "fmbench-harness[transformers]"'
        ) from None
    return _read_by(PreTrainedTokenizerFast, path if path.is_dir() else path.parent)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
