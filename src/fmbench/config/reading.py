"""The benchmark that a YAML file asks for: its keys are ``Benchmark``'s parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from fmbench.advice import SLO
from fmbench.benchmark import Benchmark, Case
from fmbench.config.document import Node, kind, nearest, read_document
from fmbench.config.kinds import annotations_of, value_of
from fmbench.config.parts import adapter, load, resolve_path, value
from fmbench.config.seed import SEED_KEYS, seed_arguments
from fmbench.errors import ConfigError
from fmbench.plugins import DEPLOYERS, INVOKERS, PROMPT_SOURCES, REPORTERS
from fmbench.types import Parameters

__all__ = ["benchmark_of"]

SEEDS = "inference_parameters"
"""A file with this key has the form that the project's seed describes."""

_OF_THE_SEEDS = ("cases", "deployers", "prompts", "loads", "parameters", "tokenizer")
"""What such a file says in its own words; ``Benchmark``'s other parameters may stand beside them."""

SPLIT = "split"
"""The field that makes several prompt sets of one source."""

Reader = Callable[[Node], Any]


def benchmark_of(path: Path) -> Benchmark:
    """What a configuration describes; raises as ``load_config``."""
    document = read_document(path)
    entries = dict(document.items())
    readers = _readers(Benchmark, _READERS)
    given: dict[str, Any] = {"name": document.file.stem}
    if SEEDS in entries:
        for name, node in entries.items():
            if name not in SEED_KEYS and (name not in readers or name in _OF_THE_SEEDS):
                known = (*SEED_KEYS, *(one for one in readers if one not in _OF_THE_SEEDS))
                node.refuse(f"there is no key {name!r} in a file with {SEEDS!r}; {nearest(name, known)}")
        own = _read({name: node for name, node in entries.items() if name not in SEED_KEYS}, readers, "there is no key")
        made = seed_arguments(document)
        given |= {**made, **own, "reporters": [*made["reporters"], *own.get("reporters", [])]}
    else:
        given |= _read(entries, readers, "there is no key")
    try:
        return Benchmark(**given)
    except ConfigError as error:
        _refuse_whole(document, entries, error)


def _readers(make: Callable[..., Any], special: Mapping[str, Reader]) -> dict[str, Reader]:
    """How to read each parameter: its own way, or a plain value of the kind that its annotation says."""
    annotations = annotations_of(make)

    def plain(name: str) -> Reader:
        return lambda node: value_of(node, annotations[name])

    return {name: special.get(name) or plain(name) for name in inspect.signature(make).parameters}


def _read(entries: Mapping[str, Node], readers: Mapping[str, Reader], unknown: str) -> dict[str, Any]:
    for name, node in entries.items():
        if name not in readers:
            node.refuse(f"{unknown} {name!r}; {nearest(name, readers)}")
    return {name: readers[name](node) for name, node in entries.items()}


def _refuse_whole(document: Node, entries: Mapping[str, Node], error: ConfigError) -> NoReturn:
    """Refuse what does not fit together, in the line of the key that the message begins with."""
    word = re.match(r"\w+", str(error))
    if word is not None and word[0] in entries:
        entries[word[0]].refuse(str(error))
    raise ConfigError(f"{document.file}: {error}") from error


def _deployer(node: Node) -> Any:
    return adapter(node, DEPLOYERS)


def _invoker(node: Node) -> Any:
    return None if node.content is None else adapter(node, INVOKERS)


def _source(node: Node) -> Any:
    return adapter(node, PROMPT_SOURCES)


def _sources(node: Node) -> Any:
    """One source, a list of them, or a mapping of names of prompt sets to sources."""
    if not node.is_mapping or _is_source(node):
        return [source for item in node for source in _split(item).values()]
    return {
        f"{name} {bucket}" if bucket else name: source
        for name, inner in node.items()
        for bucket, source in _split(inner).items()
    }


def _split(node: Node) -> Mapping[str, Any]:
    """A source, or, where it has a field ``split``, what its ``split`` makes of that, by name."""
    inner = next((options for _, options in node.items()), None) if node.is_mapping else None
    spans = inner.content.get(SPLIT) if inner is not None and inner.is_mapping else None
    if inner is None or spans is None:
        return {"": _source(node)}
    [(name, _)] = node.items()
    rest = Node(inner.file, inner.line, inner.what, {key: value for key, value in inner.items() if key != SPLIT})
    source = _source(Node(node.file, node.line, node.what, {name: rest}))
    if not hasattr(source, "split"):
        spans.refuse(f"{name} cannot be split")
    value = spans.value()
    pairs = value if isinstance(value, list) else []
    if not pairs or not all(isinstance(one, list) and [type(end) for end in one] == [int, int] for one in pairs):
        spans.refuse("split must be a list of pairs of token counts, such as [[1, 500], [500, 1000]]")
    made: Mapping[str, Any] = source.split([(low, high) for low, high in pairs])
    return made


def _is_source(node: Node) -> bool:
    """Whether a mapping is ``{source: {its fields}}`` and not ``{name: source}``; a name mistyped is still a source's."""
    entries = node.items()
    if len(entries) != 1:
        return False
    [(name, inner)] = entries
    if name in PROMPT_SOURCES:
        return True
    names = [name for name, _ in inner.items()] if inner.is_mapping else [inner.content]
    return not (len(names) == 1 and names[0] in PROMPT_SOURCES) and bool(
        get_close_matches(name, PROMPT_SOURCES.names(), n=1, cutoff=0.8)
    )


def _reporter(node: Node) -> Any:
    return adapter(node, REPORTERS)


def _slo(node: Node) -> SLO:
    """An SLO out of a mapping, or of the command line's text."""
    value = node.value()
    if isinstance(value, str):
        return _told(node, lambda: SLO.parse(value))
    if not isinstance(value, dict):
        node.refuse(f"slo must be a mapping, such as {{latency_p95_seconds: 5}}, not {kind(value)}")
    for name, limit in node.items():
        _told(limit, partial(SLO, **{name: value_of(limit, float)}))
    return _told(node, lambda: SLO(**value))


def _told(node: Node, make: Callable[[], SLO]) -> SLO:
    try:
        return make()
    except ConfigError as error:
        node.refuse(str(error))


def _parameters(node: Node) -> Any:
    return [_one_parameters(item) for item in node] if node.is_list else _one_parameters(node)


def _one_parameters(node: Node) -> Parameters:
    if not node.is_mapping:
        node.refuse(f"{node.what} must be a mapping (name: value), not {kind(node.value())}")
    made: Parameters = value(Parameters, node.what, node, node)
    return made


def _tokenizer(node: Node) -> Any:
    return resolve_path(value_of(node, str | None), node.file.parent)


def _case(node: Node) -> Case:
    special: dict[str, Reader] = {
        "deployer": _deployer,
        "prompts": _source,
        "load": load,
        "parameters": _one_parameters,
        "invoker": _invoker,
        "tokenizer": _tokenizer,
    }
    entries = dict(node.items())
    for name in ("deployer", "prompts", "load"):
        if name not in entries:
            node.refuse(f"a case needs {name!r}")
    return Case(**_read(entries, _readers(Case, special), "a case has no"))


def _each(read: Reader) -> Callable[[Node], list[Any]]:
    return lambda node: [read(item) for item in node]


_READERS: Mapping[str, Reader] = {
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
