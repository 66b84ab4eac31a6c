"""Tokenizers: a folder in, counts out; and an estimate where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fmbench.errors import ConfigError
from fmbench.interfaces import Tokenizer

__all__ = ["FolderTokenizer", "estimate_tokens", "load_tokenizer"]

BATCH = 1000
"""Texts a call: enough to keep the cores busy, few enough to keep memory low."""
CHARACTERS_A_TOKEN = 4
"""Of English prose with the vocabularies of today's models; a rule of thumb, hence *estimated*."""


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
        _encoder(path)
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

    def count(self, texts: Sequence[str]) -> list[int]:
        encode = _encoder(self.path)
        counts: list[int] = []
        for start in range(0, len(texts), BATCH):
            counts += encode(list(texts[start : start + BATCH]))
        return counts


@lru_cache(maxsize=8)
def _encoder(path: Path) -> Callable[[list[str]], list[int]]:
    """A function from a batch of texts to their lengths; reading a tokenizer takes a tenth of a second, so it is kept."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file() and file.suffix == ".json":
        return _by_tokenizers(file)
    if path.is_dir():
        return _by_transformers(path)
    if path.is_file():
        raise ConfigError(f"tokenizer: {path} is no tokenizer.json; give that file, or the folder that holds it")
    raise ConfigError(f"tokenizer: {path} does not exist; give a folder that holds a tokenizer.json")


def _by_tokenizers(file: Path) -> Callable[[list[str]], list[int]]:
    from tokenizers import Tokenizer as Fast  # noqa: PLC0415 - only for who counts

    try:
        fast = Fast.from_file(str(file))
    except Exception as error:
        raise ConfigError(f"tokenizer: {file} is not a tokenizer: {_first_line(error)}") from error
    fast.no_truncation()
    fast.no_padding()
    return lambda texts: [len(encoding.ids) for encoding in fast.encode_batch_fast(texts)]


def _by_transformers(folder: Path) -> Callable[[list[str]], list[int]]:
    known = ("tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in known):
        raise ConfigError(f"tokenizer: {folder} holds no tokenizer (no tokenizer.json, no {', no '.join(known)})")
    try:
        from transformers import AutoTokenizer  # pyright: ignore[reportMissingImports]  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            f'tokenizer: {folder} has no tokenizer.json; reading it needs: pip install "fmbench-harness[transformers]"'
        ) from None
    try:
        slow = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ConfigError(f"tokenizer: transformers cannot read {folder}: {_first_line(error)}") from error
    return lambda texts: [len(ids) for ids in slow(texts)["input_ids"]]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
