"""Tokenizers: a folder in, counts out; and an estimate where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        return FolderTokenizer(Path(tokenizer).expanduser())
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    raise ConfigError(f"tokenizer: {tokenizer!r} is neither a folder nor an object with count(texts)")


class FolderTokenizer:
    """The tokenizer of a folder. Special tokens are counted as the tokenizer itself adds them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encode = _encoder(str(path))

    def __repr__(self) -> str:
        return f"FolderTokenizer({str(self.path)!r})"

    def __str__(self) -> str:
        return str(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FolderTokenizer) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def count(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(texts), BATCH):
            counts += self._encode(list(texts[start : start + BATCH]))
        return counts


@lru_cache(maxsize=8)
def _encoder(path: str) -> Any:
    """A function from a batch of texts to their lengths; reading a tokenizer takes a tenth of a second, so it is kept."""
    folder = Path(path)
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    if file.is_file() and file.suffix == ".json":
        return _by_tokenizers(file)
    if folder.is_dir():
        return _by_transformers(folder)
    raise ConfigError(f"tokenizer: {path} does not exist; give a folder that holds a tokenizer.json")


def _by_tokenizers(file: Path) -> Any:
    from tokenizers import Tokenizer as Fast  # noqa: PLC0415 - only for who counts

    try:
        fast = Fast.from_file(str(file))
    except Exception as error:
        raise ConfigError(f"tokenizer: {file} is not a tokenizer: {error}") from error
    fast.no_truncation()
    fast.no_padding()
    return lambda texts: [len(encoding.ids) for encoding in fast.encode_batch_fast(texts)]


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
    slow = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return lambda texts: [len(ids) for ids in slow(texts)["input_ids"]]
