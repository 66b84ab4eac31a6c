"""Prompt templates with named fields, such as ``{context}`` and ``{question}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

from fmbench import ConfigError
from fmbench.prompts.rows import Row, RowError

__all__ = ["Template", "load_template"]

LONGBENCH: Mapping[str, str] = {"question": "input"}
"""LongBench keeps the question in a column of another name."""
WITHOUT_TEMPLATE = "{prompt}"
BRACES = "write {{ and }} for braces of the text"


class Template:
    """A template, and which columns its fields come from."""

    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self.text = text
        self.fields: tuple[str, ...] = _field_names(text)
        self._sources = {name: _sources(name, columns) for name in self.fields}

    @property
    def columns(self) -> frozenset[str]:
        """Every column that a field may come from."""
        return frozenset(column for columns in self._sources.values() for column in columns)

    def fill(self, row: Row) -> str:
        """The prompt that a row makes.

        Raises:
            RowError: the row lacks a field, or the field is not text.
        """
        return self.text.format(**{name: self._value(name, row) for name in self.fields})

    def empty(self) -> str:
        """The template with nothing in its fields: what it adds to every prompt."""
        return self.text.format(**dict.fromkeys(self.fields, ""))

    def _value(self, name: str, row: Row) -> str:
        for column in self._sources[name]:
            if column in row.values:
                return _text(row.values[column], column, row.place)
        raise RowError(row.place, f"no field {self._sources[name][0]!r}", _missing(name, self._sources[name][0], row.values))


def load_template(template: str | Path | None, columns: Mapping[str, str], *, also: Sequence[str] = ()) -> Template:
    """A template out of its text (which has fields in braces) or a file.

    Args:
        template: The text, or the file; without one, the column ``prompt`` is the prompt.
        columns: Which column a field comes from, where it has another name.
        also: Names that ``columns`` may have beside the template's fields.

    Raises:
        ConfigError: there is no such file, its braces do not match, it has no field, or ``columns`` names one it has not.
    """
    loaded = Template(_template_text(template), columns)
    if not loaded.fields:
        raise ConfigError("template: it has no field, so that all prompts would be the same; write {question} or the like")
    known = (*loaded.fields, *also)
    if unknown := [name for name in columns if name not in known]:
        raise ConfigError(f"fields: the template has no field {unknown[0]!r}; {_nearest(unknown[0], known)}")
    return loaded


def _template_text(template: str | Path | None) -> str:
    if template is None:
        return WITHOUT_TEMPLATE
    if isinstance(template, str) and "{" in template:
        return template
    file = Path(template).expanduser()
    if not file.is_file():
        raise ConfigError(f"template: {file} does not exist; give a file, or a text with fields in braces")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"template: {file} is not UTF-8 at byte {error.start}; save it as UTF-8") from None


def _sources(name: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    if name in columns:
        return (columns[name],)
    return (name, LONGBENCH[name]) if name in LONGBENCH else (name,)


def _field_names(text: str) -> tuple[str, ...]:
    try:
        found = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigError(f"template: its braces do not match ({error}); {BRACES}") from None
    for name, form, conversion in found:
        if not name.isidentifier() or form or conversion:
            raise ConfigError(f"template: {{{name}{form and ':'}{form}}} is not a field's name; {BRACES}")
    return tuple(dict.fromkeys(name for name, _, _ in found))


def _text(value: Any, column: str, place: str) -> str:
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise RowError(place, f"the field {column!r} is not text", f"the field {column!r} is {kind}, not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        told = f"the field {column!r} holds half of a surrogate pair, which is no text"
        raise RowError(place, "half of a surrogate pair", told) from None
    return value


def _missing(name: str, column: str, values: Mapping[str, Any]) -> str:
    known = [str(key) for key in values]
    what = f"the template's field {name!r} is not in the data (column {column!r})"
    if name == "prompt":
        what += ", and it is what a prompt is made of where no template= is given"
    return f"{what}; {_nearest(column, known)}; name its column with fields={{{name!r}: …}}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"there are: {', '.join(known)}"
