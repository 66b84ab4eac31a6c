"""Reading data files: JSON lines, JSON, CSV, TSV and Parquet. What is wrong with one row is a value, and the next is read."""

from __future__ import annotations

import codecs
import csv
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from fmbench import ConfigError
from fmbench.prompts.rows import Row, RowError

__all__ = ["ENDINGS", "read_rows"]

LONGEST_FIELD = 64 * 1024 * 1024
"""Characters of one CSV field; Python's own limit would refuse a long context."""
BATCH = 256
"""Rows of a Parquet file that are held at once."""


def read_rows(file: Path, encoding: str | None = None) -> Iterator[Row | RowError]:
    """The rows of a file, and an error for each that is none.

    Args:
        file: JSON lines (``.jsonl``, ``.json``, ``.ndjson``; ``.json`` may also be one list), CSV, TSV or Parquet.
        encoding: Of a text file; without one a byte-order mark decides, else it is UTF-8.

    Raises:
        ConfigError: the file's kind is not known, or it cannot be read at all.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"paths: {file} is none of {', '.join(ENDINGS)}")
    try:
        yield from reader(file, encoding or _marked(file))
    except UnicodeError as error:
        raise ConfigError(f"{file}: not {encoding or _marked(file)} text ({error}); name its encoding=") from None
    except LookupError:
        raise ConfigError(f"encoding: Python knows no {encoding!r}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None


def _marked(file: Path) -> str:
    with file.open("rb") as start:
        mark = start.read(4)
    if mark.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _refuse_bytes(text: str, encoding: str) -> str | None:
    """What to say of text with bytes in it that are not of its encoding; ``None`` where there are none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        name = encoding.removesuffix("-sig").upper()
        return f"not {name} at character {error.start + 1}: save it as {name}, or name its encoding="
    return None


def _json_rows(file: Path, encoding: str) -> Iterator[Row | RowError]:
    if file.suffix.lower() == ".json" and _is_list(file):
        yield from _list_rows(file)
        return
    with file.open(encoding=encoding, errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _json_row(file, number, line, encoding)


def _json_row(file: Path, number: int, line: str, encoding: str) -> Row | RowError:
    place = f"{file}:{number}"
    if (told := _refuse_bytes(line, encoding)) is not None:
        return RowError(place, "not of the encoding", told)
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        return RowError(place, "not JSON", f"not JSON: {what}; each line must be one JSON object")
    if not isinstance(values, dict):
        return RowError(place, "not a JSON object", f"a {type(values).__name__}; each line must be one JSON object")
    return Row(file, number, values)


def _is_list(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _list_rows(file: Path) -> Iterator[Row | RowError]:
    """A file that is one list, as ShareGPT's is; it is read whole."""
    try:
        items = orjson.loads(file.read_bytes().removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{file}:{error.lineno}: not JSON: {error.msg}") from None
    for number, values in enumerate(items, 1):
        if isinstance(values, dict):
            yield Row(file, number, values)
        else:
            yield RowError(f"{file}:{number}", "not a JSON object", f"a {type(values).__name__}; each item must be an object")


def _csv_rows(file: Path, encoding: str) -> Iterator[Row | RowError]:
    with _LONG_FIELDS.allowed(), file.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
        while True:
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield RowError(f"{file}:{reader.reader.line_num}", "not CSV", f"not CSV: {error}")
                continue
            if values is None:
                return
            yield _csv_row(file, reader.line_num, values, encoding)


def _csv_row(file: Path, number: int, values: dict[Any, Any], encoding: str) -> Row | RowError:
    place = f"{file}:{number}"
    if None in values or None in values.values():
        much = "more" if None in values else "fewer"
        return RowError(place, "not as many fields as the heading", f"{much} fields than the heading")
    for text in values.values():
        if (told := _refuse_bytes(text, encoding)) is not None:
            return RowError(place, "not of the encoding", told)
    return Row(file, number, values)


def _parquet_rows(file: Path, encoding: str) -> Iterator[Row | RowError]:  # noqa: ARG001 - Parquet is UTF-8
    import pyarrow as pa  # noqa: PLC0415 - only for who has such a file
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(batch_size=BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(file, number, values)
    except pa.ArrowException as error:
        raise ConfigError(f"{file}: not Parquet: {str(error).partition(chr(10))[0]}") from None


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
_READERS: dict[str, Callable[[Path, str], Iterator[Row | RowError]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".ndjson": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".parquet": _parquet_rows,
}
ENDINGS: tuple[str, ...] = tuple(_READERS)
"""The files that can be read, by their endings."""
