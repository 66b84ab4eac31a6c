"""Whether a value of the document is of the kind that a parameter's annotation asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fmbench.config.document import Node, kind

__all__ = ["annotations_of", "value_of"]

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def annotations_of(make: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each parameter."""
    return {name: parameter.annotation for name, parameter in inspect.signature(make, eval_str=True).parameters.items()}


def value_of(node: Node, annotation: Any) -> Any:
    """A node's value, where it is of the kind asked for; one text may stand where a list of them is meant.

    Nothing is converted: a text that looks like a number is none, and ``yes`` is no number.

    Raises:
        ConfigError: it is of another kind.
    """
    value = node.value()
    if not _fits(value, annotation):
        node.refuse(f"{node.what} must be {' or '.join(_words(annotation))}, not {kind(value)}{_hint(value)}")
    return [value] if isinstance(value, str) and _takes_texts(annotation) else value


def _fits(value: Any, annotation: Any) -> bool:
    if _is_union(annotation):
        return any(_fits(value, one) for one in get_args(annotation))
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if get_origin(annotation) is Sequence:
        items = [value] if isinstance(value, str) else value
        return isinstance(items, list) and all(_fits(item, get_args(annotation)[0]) for item in items)
    if annotation is float:
        return type(value) in (int, float)
    return type(value) is annotation if annotation in (*_WORDS, NoneType) else True


def _words(annotation: Any) -> list[str]:
    if _is_union(annotation):
        return [word for one in get_args(annotation) if one is not NoneType for word in _words(one)]
    if get_origin(annotation) is Literal:
        return [repr(one) for one in get_args(annotation)]
    return ["a list of texts"] if get_origin(annotation) is Sequence else [_WORDS.get(annotation, str(annotation))]


def _takes_texts(annotation: Any) -> bool:
    several = get_args(annotation) if _is_union(annotation) else (annotation,)
    return any(get_origin(one) is Sequence for one in several)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _hint(value: Any) -> str:
    """For what YAML did not take for a number although people do: ``1e3``, or a number in quotes."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return "; YAML wants a number without quotes, and an exponent as in 1.0e+3"
