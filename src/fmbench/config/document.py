"""A YAML document whose every value knows its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fmbench.errors import ConfigError

__all__ = ["Node", "nearest", "read_document"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document: its place, and how to take it apart."""

    file: Path
    _node: yaml.Node
    what: str
    """What it is called, for messages."""

    @property
    def line(self) -> int:
        return self._node.start_mark.line + 1

    def refuse(self, message: str) -> NoReturn:
        """Raise what is wrong with it, with its place."""
        raise ConfigError(f"{self.file}:{self.line}: {message}")

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def value(self) -> Any:
        """It as plain Python values."""
        if self.is_mapping:
            return {key: node.value() for key, node in self.items()}
        if self.is_list:
            return [node.value() for node in self]
        return _scalar(self._node)

    def items(self) -> list[tuple[str, Node]]:
        """A mapping's entries.

        Raises:
            ConfigError: it is no mapping, a key is no text, or a key stands twice.
        """
        if not isinstance(self._node, yaml.MappingNode):
            self.refuse(f"{self.what} must be a mapping (name: value), not {_kind(self._node)}")
        entries: dict[str, Node] = {}
        for key_node, value_node in self._node.value:
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str | int | float):
                Node(self.file, key_node, "key").refuse(f"{self.what}: a key must be a word, not {_kind(key_node)}")
            name = str(key)
            if name in entries:
                Node(self.file, key_node, "key").refuse(
                    f"{self.what}: {name!r} stands twice (first in line {entries[name].line})"
                )
            entries[name] = Node(self.file, value_node, name)
        return list(entries.items())

    def __iter__(self) -> Iterator[Node]:
        """A list's items; a single value is a list of one."""
        if isinstance(self._node, yaml.SequenceNode):
            return (Node(self.file, item, self.what) for item in self._node.value)
        return iter((self,))


def read_document(file: Path) -> Node:
    """A file's document.

    Raises:
        ConfigError: the file does not exist, is not YAML, or is empty.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise ConfigError(f"{file}{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from None
    if node is None:
        raise ConfigError(f"{file} is empty")
    return Node(file, node, "the document")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(_scalar(node))
