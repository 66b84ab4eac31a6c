"""An adapter's options, checked by pydantic: what it refuses is told as any mistake is, in one line."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, TypeVar

from fmbench.errors import ConfigError

__all__ = ["checked"]

T = TypeVar("T")


def checked(cls: type[T]) -> type[T]:
    """Put above ``pydantic.dataclasses.dataclass``: a wrong option is a ``ConfigError`` then, which is a ``ValueError`` too.

    Its message names the class, the option and what is wrong with it, never the value, which may be a secret; pydantic's
    own error is its cause.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - whoever decorates a class has loaded it

    make: Any = cls.__init__

    @wraps(make)
    def init(self: T, *args: Any, **options: Any) -> None:
        try:
            make(self, *args, **options)
        except ValidationError as error:
            raise ConfigError(_line(cls, error.errors(include_url=False, include_input=False))) from error

    cls.__init__ = init  # type: ignore[method-assign, assignment]
    return cls


def _line(cls: type, mistakes: Any) -> str:
    """The first wrong option; one that may be of several kinds has a mistake for each."""
    kind, place = mistakes[0]["type"], mistakes[0]["loc"][:1]
    options = list(inspect.signature(cls).parameters)
    # One that was given by its position bears its number.
    named = [options[part] if isinstance(part, int) and part < len(options) else str(part) for part in place]
    if kind == "unexpected_keyword_argument":
        return f"{cls.__name__} has no option {named[0]!r}; it has {', '.join(options)}"
    if kind.startswith("missing"):
        return f"{cls.__name__}: the option {named[0]!r} is missing"
    said = dict.fromkeys(_said(mistake) for mistake in mistakes if mistake["loc"][:1] == place)
    return ": ".join([cls.__name__, *named, " or ".join(said)])


def _said(mistake: Any) -> str:
    if "error" in mistake.get("ctx", {}):
        return str(mistake["ctx"]["error"])
    return str(mistake["msg"]).replace("Input should", "it should", 1)
