"""Adapters and loads out of ``name`` or ``{name: {its fields}}``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fmbench.config.document import Node, nearest
from fmbench.errors import ConfigError, PluginError
from fmbench.load import Concurrency, ConstantRate, Poisson
from fmbench.plugins import Plugins

__all__ = ["adapter", "dataclass_of", "load", "resolve_path"]

LOADS: Mapping[str, type[Any]] = {"concurrency": Concurrency, "constant_rate": ConstantRate, "poisson": Poisson}


def adapter(node: Node, registry: Plugins) -> Any:
    """An adapter by its registered name, with its fields.

    Raises:
        ConfigError: the name is not known, or a field is wrong.
        PluginError: it cannot be imported.
    """
    name, options = _named(node, registry.what)
    try:
        make = registry.load(name)
    except ConfigError as error:
        node.refuse(str(error))
    except PluginError as error:
        raise type(error)(f"{node.file}:{node.line}: {error}", group=error.group, name=error.name) from error.__cause__
    return _made(make, name, node, options, getattr(make, "path_fields", ()))


def load(node: Node) -> Any:
    """A load by its class's name in snake case; a number or a text alone is its first field."""
    name, options = _named(node, "load")
    if name not in LOADS:
        node.refuse(f"there is no load called {name!r}; {nearest(name, LOADS)}")
    return _made(LOADS[name], name, node, options, ())


def dataclass_of(kind: type[Any], node: Node) -> Any:
    """A frozen value, such as ``Parameters``, out of its fields."""
    return _made(kind, node.what, node, node, ())


def resolve_path(value: Any, folder: Path) -> Any:
    """Relative paths in a value, taken from the configuration's folder; a text with braces or line ends is no path."""
    if isinstance(value, list):
        return [resolve_path(item, folder) for item in value]
    if not isinstance(value, str) or "{" in value or "\n" in value:
        return value
    path = Path(value).expanduser()
    return value if path.is_absolute() else str(folder / path)


def _named(node: Node, what: str) -> tuple[str, Node | None]:
    if not node.is_mapping:
        name = node.value()
        if not isinstance(name, str):
            node.refuse(f"{node.what}: a {what} is a name, or {{name: {{its fields}}}}, not {name!r}")
        return name, None
    entries = node.items()
    if len(entries) != 1:
        node.refuse(f"{node.what}: a {what} is one name with its fields, not {len(entries)} names; begin each with a dash")
    [(name, options)] = entries
    return name, options


def _made(make: Callable[..., Any], name: str, node: Node, options: Node | None, paths: tuple[str, ...]) -> Any:
    known = _field_names(make)
    given: dict[str, Any] = {}
    for field, value in _fields(options, known, name):
        if known is not None and field not in known:
            value.refuse(f"{name} has no field {field!r}; {nearest(field, known)}")
        given[field] = resolve_path(value.value(), node.file.parent) if field in paths else value.value()
    try:
        return make(**given)
    except ValidationError as error:
        node.refuse(f"{name}: {_first_mistake(error)}")
    except ConfigError as error:
        node.refuse(f"{name}: {error}")
    except TypeError as error:
        node.refuse(f"{name}: {_missing(make, given) or error}")


def _fields(options: Node | None, known: tuple[str, ...] | None, name: str) -> list[tuple[str, Node]]:
    if options is None or (not options.is_mapping and options.value() is None):
        return []
    if options.is_mapping:
        return options.items()
    if not known or options.is_list:
        options.refuse(f"{name}: give its fields as a mapping (field: value)")
    return [(known[0], options)]


def _field_names(make: Callable[..., Any]) -> tuple[str, ...] | None:
    """A dataclass's fields, positional ones first; ``None`` for a callable that takes any keyword."""
    if is_dataclass(make):
        return tuple(f.name for f in sorted(fields(make), key=lambda f: bool(f.kw_only)) if f.init)
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


def _missing(make: Callable[..., Any], given: Mapping[str, Any]) -> str | None:
    if not is_dataclass(make):
        return None
    absent = [
        f.name for f in fields(make) if f.init and f.default is MISSING and f.default_factory is MISSING and f.name not in given
    ]
    return f"the field {absent[0]!r} is missing" if absent else None


def _first_mistake(error: ValidationError) -> str:
    """A field and what is wrong with it; never its value, which may be a secret."""
    mistake = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in mistake["loc"])
    what = re.sub(r"^Value error, ", "", mistake["msg"])
    if mistake["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"the field {where!r} is missing"
    return f"{where}: {what[:1].lower()}{what[1:]}" if where else what
