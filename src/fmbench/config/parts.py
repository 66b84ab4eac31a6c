"""Adapters, loads and other values out of ``name`` or ``{name: {its fields}}``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from fmbench.config.document import Node, kind, nearest
from fmbench.config.kinds import annotations_of, value_of
from fmbench.errors import ConfigError, PluginError
from fmbench.load import Concurrency, ConstantRate, Gamma, Poisson, Ramp, Replay
from fmbench.plugins import DEPLOYERS, INVOKERS, Plugins

__all__ = ["adapter", "load", "resolve_path", "value"]

LOADS: Mapping[str, type[Any]] = {
    "concurrency": Concurrency, "constant_rate": ConstantRate, "poisson": Poisson,
    "gamma": Gamma, "ramp": Ramp, "replay": Replay,
}  # fmt: skip

Read = Callable[[str, Node], Any]
"""Makes a field's value."""


def adapter(node: Node, registry: Plugins) -> Any:
    """An adapter by its registered name, with its fields.

    Relative paths in the fields that its class names in ``path_fields`` are taken from the configuration's folder.

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
    paths = getattr(make, "path_fields", ())

    def read(field: str, value: Node) -> Any:
        if registry is DEPLOYERS and field == "invoker" and value.content is not None:
            return adapter(value, INVOKERS)
        return resolve_path(value.value(), node.file.parent) if field in paths else value.value()

    return _made(make, name, node, _fields(options, make, name), read)


def load(node: Node) -> Any:
    """A load by its class's name in snake case; a number alone is its first field."""
    name, options = _named(node, "load")
    if name not in LOADS:
        node.refuse(f"there is no load called {name!r}; {nearest(name, LOADS)}")
    return value(LOADS[name], name, node, options)


def value(make: type[Any], name: str, node: Node, options: Node | None) -> Any:
    """One of fmbench's own values, such as ``Parameters``; its fields are of the kinds that its annotations say.

    Raises:
        ConfigError: a field is not known, missing, or wrong.
    """
    annotations = annotations_of(make)
    return _made(make, name, node, _fields(options, make, name), lambda field, value: value_of(value, annotations[field]))


def resolve_path(value: Any, folder: Path) -> Any:
    """Relative paths in a value, taken from a folder; a text with braces, line ends or ``://`` is no path."""
    if isinstance(value, list):
        return [resolve_path(item, folder) for item in value]
    if isinstance(value, dict):
        return {name: resolve_path(item, folder) for name, item in value.items()}
    if not isinstance(value, str) or any(sign in value for sign in ("{", "\n", "://")):
        return value
    return str(folder / Path(value).expanduser())


def _named(node: Node, what: str) -> tuple[str, Node | None]:
    if not node.is_mapping:
        name = node.value()
        if not isinstance(name, str):
            node.refuse(f"{node.what}: {_article(what)} is a name, or {{name: {{its fields}}}}, not {kind(name)}")
        return name, None
    entries = node.items()
    if len(entries) != 1:
        names = ", ".join(name for name, _ in entries) or "none"
        node.refuse(
            f"{node.what}: {_article(what)} is one name with its fields, {{name: {{field: value}}}}, not {len(entries)} names"
            f" ({names}); where several are meant, begin each with a dash"
        )
    [(name, options)] = entries
    return name, options


def _article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _made(make: Callable[..., Any], name: str, node: Node, fields: Mapping[str, Node], read: Read) -> Any:
    _refuse_misfits(make, name, node, fields)
    given = {field: read(field, value) for field, value in fields.items()}
    try:
        return make(**given)
    except ValidationError as error:
        _refuse_first(error, name, node, fields)
    except (ConfigError, ValueError, TypeError) as error:
        if isinstance(error.__cause__, ValidationError):
            _refuse_first(error.__cause__, name, node, fields)
        node.refuse(f"{name}: {error}")


def _fields(options: Node | None, make: Callable[..., Any], name: str) -> Mapping[str, Node]:
    """The fields that are given; a single value is the first one's."""
    if options is None or options.content is None:
        return {}
    if options.is_mapping:
        return dict(options.items())
    first = next(iter(_parameters(make) or ()), None)
    if first is None or first.kind is first.KEYWORD_ONLY:
        options.refuse(f"{name}: give its fields as a mapping (field: value), not as {kind(options.value())}")
    return {first.name: Node(options.file, options.line, first.name, options.content)}


def _refuse_misfits(make: Callable[..., Any], name: str, node: Node, fields: Mapping[str, Node]) -> None:
    """Refuse fields that are not known, and the lack of those that are needed."""
    parameters = _parameters(make)
    if parameters is None:
        return
    known = [parameter.name for parameter in parameters]
    for field, value in fields.items():
        if field not in known:
            value.refuse(f"{name} has no field {field!r}; {nearest(field, known)}")
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in fields:
            node.refuse(f"{name}: the field {parameter.name!r} is missing")


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """What it can be given by name; ``None`` where that is anything, or cannot be known."""
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def _refuse_first(error: ValidationError, name: str, node: Node, fields: Mapping[str, Node]) -> NoReturn:
    """Refuse the first wrong field, in its own line; its value is not told, for it may be a secret."""
    mistakes = error.errors(include_url=False, include_input=False)
    field = mistakes[0]["loc"][:1]
    place, way = Node(node.file, node.line, name, fields).inner(mistakes[0]["loc"])
    said = dict.fromkeys(_said(mistake) for mistake in mistakes if mistake["loc"][:1] == field)
    where = [name, ".".join(way)] if way else [name]
    place.refuse(f"{': '.join(where)}: {' or '.join(said)}")


def _said(mistake: Any) -> str:
    if "error" in mistake.get("ctx", {}):
        return str(mistake["ctx"]["error"])
    hint = "; write it in quotes" if mistake["type"] == "string_type" else ""
    said = mistake["msg"].removeprefix("Input ")
    return f"{said[:1].lower()}{said[1:]}{hint}"
