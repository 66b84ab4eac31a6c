"""Rows of data files, one at a time, each with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

from fmbench import ConfigError

__all__ = ["Row", "RowError", "find_files", "short_names"]


class Row(NamedTuple):
    """One row, and where it stands."""

    file: Path | str
    """The file, or what else the rows come from."""
    line: int
    """Its line, or its number where the format has no lines; both from 1."""
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """``FILE:LINE``."""
        return f"{self.file}:{self.line}"


class RowError(ConfigError):
    """One row cannot be used. Readers hand it on as a value, so that the others can still be read.

    Args:
        place: ``FILE:LINE``.
        kind: What is wrong, in words that many rows can share.
        message: What is wrong with this one, and the remedy.
    """

    def __init__(self, place: str, kind: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.kind = kind


def find_files(paths: Sequence[str | Path], endings: Sequence[str]) -> list[Path]:
    """The files that paths, folders and patterns mean, in order, each once.

    Args:
        paths: Files, folders or patterns.
        endings: Which files of a folder are meant.

    Raises:
        ConfigError: one of them means no file.
    """
    files: list[Path] = []
    for path in paths:
        text = str(Path(path).expanduser())
        matched = has_magic(text) and not Path(text).exists()
        found = sorted(map(Path, glob(text, recursive=True))) if matched else [Path(text)]  # noqa: PTH207 - absolute too
        found = [file for one in found for file in _files_of(one, endings)]
        if not found or not all(file.is_file() for file in found):
            raise ConfigError(f"paths: no data file at {path}")
        files += found
    return list(dict.fromkeys(files))


def _files_of(path: Path, endings: Sequence[str]) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in endings) if path.is_dir() else [path]


def short_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file: without folder and ending, where that tells them apart, else from their common folder on."""
    if len({file.stem for file in files}) == len(files):
        return {file: file.stem for file in files}
    folder = os.path.commonpath([file.absolute().parent for file in files])
    return {file: file.absolute().relative_to(folder).as_posix() for file in files}


def rows_of(items: Iterator[Mapping[str, Any]], origin: str) -> Iterator[Row]:
    """Rows out of mappings that come from something else than a file."""
    for number, values in enumerate(items, 1):
        yield Row(origin, number, values)
