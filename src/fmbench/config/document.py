"""A YAML document whose every value knows its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fmbench.errors import ConfigError

__all__ = ["Node", "kind", "nearest", "read_document"]

_SURPRISE = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Numbers of YAML 1.1 that nobody means: 010 is 8, and 1:30 is 90."""
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document, with its place: the line of its key, or of the value itself in a list."""

    file: Path
    line: int
    what: str
    """What it is called, for messages."""
    content: Any
    """A mapping of names to nodes, a tuple of nodes, or a plain value."""

    def refuse(self, message: str) -> NoReturn:
        """Raise what is wrong with it, with its place, as one line."""
        raise ConfigError(f"{self.file}:{self.line}: {' '.join(message.split())}")

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.content, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.content, tuple)

    def value(self) -> Any:
        """It as plain Python values."""
        if self.is_mapping:
            return {name: node.value() for name, node in self.items()}
        return [node.value() for node in self] if self.is_list else self.content

    def items(self) -> list[tuple[str, Node]]:
        """A mapping's entries.

        Raises:
            ConfigError: it is no mapping.
        """
        if not isinstance(self.content, Mapping):
            self.refuse(f"{self.what} must be a mapping (name: value), not {kind(self.value())}")
        return list(self.content.items())

    def __iter__(self) -> Iterator[Node]:
        """A list's items; a single value is a list of one."""
        return iter(self.content if isinstance(self.content, tuple) else (self,))

    def inner(self, place: Iterable[object]) -> tuple[Node, list[str]]:
        """The node that a place such as ``("headers", "x")`` points at, as far as it points into the document, and the way."""
        node, way = self, []
        for part in place:
            try:
                node = node.content[part]
            except (TypeError, LookupError):
                continue  # the name of a type, where one of several could have been meant
            way.append(str(part))
        return node, way


def read_document(file: Path) -> Node:
    """A file's document.

    Raises:
        ConfigError: the file does not exist, is empty, or is not YAML as it is meant here: only plain data, keys that are
            words, no key twice.
    """
    text = _text(file)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{file} is empty")
        return _Reader(file, loader).node(root, "the document", _line(root))
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise ConfigError(f"{file}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


def kind(value: Any) -> str:
    """What a value is, in words; never the value, which may be a secret."""
    words = {bool: "a truth value", int: "a whole number", float: "a number", str: "a text", dict: "a mapping", list: "a list"}
    return "nothing" if value is None else words.get(type(value), f"a {type(value).__name__}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from None


class _Reader:
    """Makes nodes of what the parser found."""

    def __init__(self, file: Path, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._open: list[yaml.Node] = []
        """The collections around the value that is read; an alias to one of them has no end."""

    def node(self, found: yaml.Node, what: str, line: int) -> Node:
        place = Node(self._file, line, what, None)
        if any(found is outer for outer in self._open):
            place.refuse(f"{what}: an alias stands within what it is an alias of")
        self._open.append(found)
        try:
            content = self._content(found, what, place)
        finally:
            self._open.pop()
        return Node(self._file, line, what, content)

    def _content(self, found: yaml.Node, what: str, place: Node) -> Any:
        if isinstance(found, yaml.ScalarNode):
            return self._scalar(found, place)
        if found.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            place.refuse(f"{what}: the tag {found.tag} is not known here")
        if isinstance(found, yaml.MappingNode):
            return self._mapping(found, what)
        return tuple(self.node(item, what, _line(item)) for item in found.value)

    def _scalar(self, found: yaml.ScalarNode, place: Node) -> Any:
        if _SURPRISE.fullmatch(found.value) and found.tag.endswith((":int", ":float")):
            place.refuse(f"{place.what}: YAML reads {found.value} as another number: write it in quotes, or as a plain number")
        try:
            return self._loader.construct_object(found)
        except yaml.constructor.ConstructorError:
            place.refuse(f"{place.what}: the tag {found.tag} is not known here")
        except ValueError as error:
            place.refuse(f"{place.what}: {error}: write it in quotes if it is meant as text")

    def _mapping(self, found: yaml.MappingNode, what: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in found.value:
            if key.tag == _MERGE:
                for name, node in self._merged(value):
                    merged.setdefault(name, node)  # of several, the first one counts
                continue
            name = self._key(key, what)
            if name in entries:
                Node(self._file, _line(key), what, None).refuse(
                    f"{what}: {name!r} stands twice (first in line {entries[name].line})"
                )
            entries[name] = self.node(value, name, _line(key))
        return {**merged, **entries}

    def _merged(self, value: yaml.Node) -> Iterator[tuple[str, Node]]:
        """What ``<<: *alias`` brings along, from one mapping or a list of them."""
        for node in self.node(value, "<<", _line(value)):
            yield from node.items()

    def _key(self, key: yaml.Node, what: str) -> str:
        place = Node(self._file, _line(key), what, None)
        name = self._scalar(key, place) if isinstance(key, yaml.ScalarNode) else None
        if isinstance(key, yaml.ScalarNode) and not isinstance(name, str):
            place.refuse(f"{what}: YAML reads the key {key.value} as {kind(name)}: write it in quotes")
        if not isinstance(name, str):
            place.refuse(f"{what}: a key must be a word, not {'a list' if isinstance(key, yaml.SequenceNode) else 'a mapping'}")
        return name


def _line(found: yaml.Node) -> int:
    return int(found.start_mark.line) + 1
