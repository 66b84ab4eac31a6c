"""Assertions that survive ``python -O``."""

from __future__ import annotations

__all__ = ["require"]


def require(condition: object, reason: str) -> None:
    """Raise ``AssertionError`` with a reason unless the condition holds."""
    if not condition:
        raise AssertionError(reason)
