"""Rows of data files: JSON lines and CSV, with the place of whatever is wrong in them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

from fmbench import ConfigError

__all__ = ["Row", "find_files", "read_rows"]

LONGEST_FIELD = 64 * 1024 * 1024
"""Characters of one CSV field; Python's own limit would refuse a long context."""


class Row(NamedTuple):
    """One row, and where it stands."""

    place: str
    values: Mapping[str, Any]


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files that paths, folders and patterns mean, in order.

    Raises:
        ConfigError: one of them means no file.
    """
    files: list[Path] = []
    for path in paths:
        text = str(Path(path).expanduser())
        found = sorted(map(Path, glob(text, recursive=True))) if has_magic(text) else [Path(text)]  # noqa: PTH207 - absolute too
        if len(found) == 1 and found[0].is_dir():
            found = sorted(file for file in found[0].iterdir() if file.suffix in _READERS)
        if not found or not all(file.is_file() for file in found):
            raise ConfigError(f"paths: no data file at {path}")
        files += found
    return files


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a file, each with ``FILE:LINE``.

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
            except json.JSONDecodeError as error:
                raise ConfigError(f"{file}:{number}: not JSON: {error.msg}; each line must be one JSON object") from None
            if not isinstance(values, dict):
                raise ConfigError(f"{file}:{number}: a {type(values).__name__}; each line must be one JSON object")
            yield Row(f"{file}:{number}", values)


def _csv_rows(file: Path) -> Iterator[Row]:
    with _long_fields(), file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",", strict=True)
        try:
            for values in reader:
                if None in values or None in values.values():
                    raise ConfigError(
                        f"{file}:{reader.line_num}: {'more' if None in values else 'fewer'} fields than the heading"
                    )
                yield Row(f"{file}:{reader.line_num}", values)
        except csv.Error as error:
            raise ConfigError(f"{file}:{reader.line_num}: not CSV: {error}") from None


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


_JSON = (".jsonl", ".json", ".ndjson")
_READERS = dict.fromkeys(_JSON, _json_rows) | {".csv": _csv_rows, ".tsv": _csv_rows}
