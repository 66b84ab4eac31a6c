"""Parts as JSON for ``run.json``: enough to know what was run, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

__all__ = ["describe"]

_SECRET = re.compile(r"(api_?key|secret|password|passwd|credential|authorization|access_?token|bearer)", re.IGNORECASE)
_NAME_OF_A_VARIABLE = re.compile(r"_env$")


def describe(part: Any) -> Any:
    """``part`` as plain JSON values.

    A dataclass gives its type and those fields that its ``repr`` shows; values under names that sound like secrets are
    masked; whatever else gives its type's name.
    """
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, Mapping):
        return {str(name): _masked(str(name), value) for name, value in part.items()}
    if isinstance(part, list | tuple | set | frozenset):
        return [describe(item) for item in part]
    if is_dataclass(part) and not isinstance(part, type):
        shown = {f.name: _masked(f.name, getattr(part, f.name, None)) for f in fields(part) if f.repr}
        return {"type": type(part).__name__, **shown}
    return {"type": f"{type(part).__module__}.{type(part).__qualname__}"}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, str) and _SECRET.search(name) and not _NAME_OF_A_VARIABLE.search(name):
        return "***"
    return describe(value)
