"""Rows of data files: JSON lines and CSV, one at a time, with the place of whatever is wrong in them."""

from __future__ import annotations

import csv
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

from fmbench import ConfigError

__all__ = ["Row", "find_files", "read_rows", "short_names"]

LONGEST_FIELD = 64 * 1024 * 1024
"""Characters of one CSV field; Python's own limit would refuse a long context."""


class Row(NamedTuple):
    """One row, and where it stands."""

    file: Path
    line: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """``FILE:LINE``."""
        return f"{self.file}:{self.line}"


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files that paths, folders and patterns mean, in order, each once.

    Raises:
        ConfigError: one of them means no file.
    """
    files: list[Path] = []
    for path in paths:
        text = str(Path(path).expanduser())
        matched = has_magic(text) and not Path(text).exists()
        found = sorted(map(Path, glob(text, recursive=True))) if matched else [Path(text)]  # noqa: PTH207 - absolute too
        if len(found) == 1 and found[0].is_dir():
            found = sorted(file for file in found[0].iterdir() if file.suffix.lower() in _READERS)
        if not found or not all(file.is_file() for file in found):
            raise ConfigError(f"paths: no data file at {path}")
        files += found
    return list(dict.fromkeys(files))


def short_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file: without folder and ending, where that tells them apart, else from their common folder on."""
    if len({file.stem for file in files}) == len(files):
        return {file: file.stem for file in files}
    folder = os.path.commonpath([file.absolute().parent for file in files])
    return {file: file.absolute().relative_to(folder).as_posix() for file in files}


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a file, each with its line.

    Raises:
        ConfigError: the file's kind is not known, or a line of it is broken.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"paths: {file} is neither JSON lines ({', '.join(_JSON)}) nor CSV (.csv, .tsv)")
    try:
        yield from reader(file)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def _json_rows(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                told = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                raise ConfigError(f"{file}:{number}: not JSON: {told}; each line must be one JSON object") from None
            if not isinstance(values, dict):
                raise ConfigError(f"{file}:{number}: a {type(values).__name__}; each line must be one JSON object")
            yield Row(file, number, values)


def _csv_rows(file: Path) -> Iterator[Row]:
    with _LONG_FIELDS.allowed(), file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
        try:
            for values in reader:
                if None in values or None in values.values():
                    raise ConfigError(
                        f"{file}:{reader.line_num}: {'more' if None in values else 'fewer'} fields than the heading"
                    )
                yield Row(file, reader.line_num, values)
        except csv.Error as error:
            raise ConfigError(f"{file}:{reader.line_num}: not CSV: {error}") from None


class _LongFields:
    """The csv module has one limit for the whole process: it is raised while anybody here reads, and then as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._before = 0

    @contextmanager
    def allowed(self) -> Iterator[None]:
        with self._lock:
            if self._readers == 0:
                self._before = csv.field_size_limit(max(LONGEST_FIELD, csv.field_size_limit()))
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._readers == 0:
                    csv.field_size_limit(self._before)


_LONG_FIELDS = _LongFields()
_JSON = (".jsonl", ".json", ".ndjson")
_READERS = dict.fromkeys(_JSON, _json_rows) | {".csv": _csv_rows, ".tsv": _csv_rows}
