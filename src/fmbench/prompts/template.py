"""Prompt templates with named fields, such as ``{context}`` and ``{question}``."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

from fmbench import ConfigError
from fmbench.prompts.rows import Row

__all__ = ["Template", "load_template"]

LONGBENCH: Mapping[str, str] = {"question": "input"}
"""LongBench keeps the question in a column of another name."""


class Template:
    """A template, and which column each of its fields comes from."""

    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self.text = text
        self.fields = _field_names(text)
        self._columns = {name: columns.get(name) for name in self.fields}

    def fill(self, row: Row) -> str:
        """The prompt that a row makes.

        Raises:
            ConfigError: the row lacks a field, or the field is not text.
        """
        return self.text.format(**{name: self._value(name, row) for name in self.fields})

    def empty(self) -> str:
        """The template with nothing in its fields: what it adds to every prompt."""
        return self.text.format(**dict.fromkeys(self.fields, ""))

    def _value(self, name: str, row: Row) -> str:
        chosen = self._columns[name]
        candidates = [chosen] if chosen is not None else [name, *([LONGBENCH[name]] if name in LONGBENCH else [])]
        for column in candidates:
            if column in row.values:
                return _text(row.values[column], column, row.place)
        raise ConfigError(f"{row.place}: {_missing(name, candidates[0], row.values)}")


def load_template(template: str | Path, columns: Mapping[str, str]) -> Template:
    """A template out of its text (which has fields in braces) or a file.

    Raises:
        ConfigError: there is no such file, or its braces do not match.
    """
    if isinstance(template, str) and "{" in template:
        return Template(template, columns)
    file = Path(template).expanduser()
    if not file.is_file():
        raise ConfigError(f"template: {file} does not exist")
    return Template(file.read_text(encoding="utf-8"), columns)


def _field_names(text: str) -> tuple[str, ...]:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigError(f"template: its braces do not match ({error}); write {{{{ and }}}} for braces of the text") from None
    for name in names:
        if not name.isidentifier():
            raise ConfigError(f"template: {{{name}}} is not a field's name; write {{{{ and }}}} for braces of the text")
    return tuple(dict.fromkeys(names))


def _text(value: Any, column: str, place: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise ConfigError(f"{place}: the field {column!r} is a {type(value).__name__}, not text")


def _missing(name: str, column: str, values: Mapping[str, Any]) -> str:
    known = [str(key) for key in values]
    near = get_close_matches(column, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}"
    return f"the template's field {name!r} is not in the data (column {column!r}); {hint} Say so with fields={{{name!r}: …}}"
