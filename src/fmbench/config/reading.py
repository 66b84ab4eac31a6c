"""The benchmark that a YAML file asks for: its keys are ``Benchmark``'s parameters."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fmbench.advice import SLO
from fmbench.benchmark import Benchmark, Case
from fmbench.config.document import Node, nearest, read_document
from fmbench.config.parts import adapter, dataclass_of, load, resolve_path
from fmbench.errors import ConfigError
from fmbench.plugins import DEPLOYERS, INVOKERS, PROMPT_SOURCES, REPORTERS
from fmbench.types import Parameters

__all__ = ["load_config"]

SEEDS = "inference_parameters"
"""A file with this key has the form that the project's seed describes."""


def load_config(path: str | os.PathLike[str]) -> Benchmark:
    """Read a configuration. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: something is wrong; the message begins with ``FILE:LINE``.
        PluginError: an adapter it names cannot be imported.
    """
    document = read_document(Path(path).expanduser())
    entries = dict(document.items())
    if SEEDS in entries:
        entries[SEEDS].refuse(f"files with {SEEDS!r} cannot be read yet: give the keys of fmbench.Benchmark")
    known = list(inspect.signature(Benchmark).parameters)
    for name, node in entries.items():
        if name not in known:
            node.refuse(f"there is no key {name!r}; {nearest(name, known)}")
    given = {name: _READERS.get(name, _plain)(node) for name, node in entries.items()}
    given.setdefault("name", document.file.stem)
    try:
        return Benchmark(**given)
    except ConfigError as error:
        raise ConfigError(f"{document.file}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{document.file}: a value is of the wrong kind: {error}") from error


def _plain(node: Node) -> Any:
    return node.value()


def _deployer(node: Node) -> Any:
    return adapter(node, DEPLOYERS)


def _invoker(node: Node) -> Any:
    return adapter(node, INVOKERS)


def _source(node: Node) -> Any:
    return adapter(node, PROMPT_SOURCES)


def _sources(node: Node) -> Any:
    """One source, a list of them, or a mapping of names of prompt sets to sources."""
    if node.is_mapping:
        entries = node.items()
        if len(entries) != 1 or entries[0][0] not in PROMPT_SOURCES.names():
            return {name: _source(source) for name, source in entries}
    return [_source(item) for item in node]


def _reporter(node: Node) -> Any:
    return adapter(node, REPORTERS)


def _slo(node: Node) -> SLO:
    try:
        return _slo_of(node.value())
    except (ConfigError, TypeError) as error:
        node.refuse(f"slo: {error}")


def _slo_of(value: Any) -> SLO:
    """An SLO out of a mapping, or of the command line's text."""
    return SLO(**value) if isinstance(value, Mapping) else SLO.parse(str(value))


def _parameters(node: Node) -> Any:
    if node.is_list:
        return [dataclass_of(Parameters, item) for item in node]
    return dataclass_of(Parameters, node)


def _tokenizer(node: Node) -> Any:
    return resolve_path(node.value(), node.file.parent)


def _case(node: Node) -> Case:
    readers: dict[str, Callable[[Node], Any]] = {
        "deployer": _deployer,
        "prompts": _source,
        "load": load,
        "parameters": _parameters,
        "invoker": _invoker,
        "tokenizer": _tokenizer,
        "name": _plain,
    }
    entries = dict(node.items())
    for name, value in entries.items():
        if name not in readers:
            value.refuse(f"a case has no {name!r}; {nearest(name, readers)}")
    for name in ("deployer", "prompts", "load"):
        if name not in entries:
            node.refuse(f"a case needs {name!r}")
    return Case(**{name: readers[name](value) for name, value in entries.items()})


def _each(read: Callable[[Node], Any]) -> Callable[[Node], list[Any]]:
    return lambda node: [read(item) for item in node]


_READERS: Mapping[str, Callable[[Node], Any]] = {
    "deployers": _each(_deployer),
    "prompts": _sources,
    "loads": _each(load),
    "cases": _each(_case),
    "parameters": _parameters,
    "invoker": _invoker,
    "tokenizer": _tokenizer,
    "reporters": _each(_reporter),
    "slo": _slo,
}
